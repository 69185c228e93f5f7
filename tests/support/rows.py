"""Steps of rows from sequences: chunks of any sizes, from any positions, beside each other."""

from __future__ import annotations

import numpy as np

from serving.link.step import StepRows
from tests.support.sequences import Sequence, int32, tables


def step_of(chunks: list[tuple[Sequence, int, int]], every_row: bool = False) -> StepRows:
    """Tokens start..stop of each sequence; logits of each chunk's last row, or of every row."""
    ids, slots, lengths, owners, ends = [], [], [], [], []
    for owner, (sequence, start, stop) in enumerate(chunks):
        for position in range(start, stop):
            ids.append(sequence.token_ids[position])
            slots.append(sequence.slot(position))
            lengths.append(position + 1)
            owners.append(owner)
        ends.append(len(ids) - 1)
    wanted = np.arange(len(ids)) if every_row else ends
    block_tables = tables([sequence for sequence, _, _ in chunks])
    return StepRows(int32(ids), int32(slots), int32(lengths), int32(owners), block_tables, int32(wanted))
