"""From a step area in shared memory to the arrays that a model is given. Copies nothing that it need not."""

from __future__ import annotations

import numpy as np

from serving.link.errors import WrongSize
from serving.link.layout import Area, Shapes
from serving.link.message import SOURCES, Step
from serving.link.step import Int32, StepBatch, StepKind


def check_step(step: Step, shapes: Shapes) -> None:
    """Raise WrongSize if the step does not fit the shapes that both sides agreed on."""
    counts = (step.num_seqs, step.num_tokens, step.num_blocks, step.num_logits_rows)
    limits = (shapes.max_seqs, shapes.max_tokens, shapes.max_blocks, shapes.max_seqs)
    if not step.num_seqs or any(count > limit for count, limit in zip(counts, limits, strict=True)):
        raise WrongSize(f"step {step.number}: (sequences, tokens, blocks, logits rows) {counts}, limits {limits}")


def build_batch(step: Step, area: Area, previous_ids: Int32) -> StepBatch:
    """Views of the area, except that tokens sampled by the step before are put in place.

    `previous_ids` [num_seqs of the step before]: the tokens that `token_source` refers to.
    """
    num_seqs, num_tokens = step.num_seqs, step.num_tokens
    input_ids = area.input_ids[:num_tokens]
    if step.flags & SOURCES:
        source = area.token_source[:num_seqs]
        # Only decode steps have sources, and those have one token per sequence.
        input_ids = np.where(source >= 0, previous_ids[source], input_ids)
    return StepBatch(
        kind=StepKind(step.kind),
        input_ids=input_ids,
        query_lengths=area.query_lengths[:num_seqs],
        context_lengths=area.context_lengths[:num_seqs],
        block_tables=area.block_tables[: num_seqs * step.num_blocks].reshape(num_seqs, step.num_blocks),
        slot_mapping=area.slot_mapping[:num_tokens],
    )
