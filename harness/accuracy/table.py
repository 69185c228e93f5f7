"""One line per logits row, compared or not, as columns. It knows neither files nor how the columns are filled."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class RowStatus(IntEnum):
    """What became of a row. Only `passed` is a pass; the last five were not compared."""

    passed = 0
    failed = 1  # compared, and further apart than the tolerance
    nan = 2  # a NaN in either
    shape = 3  # the two vocabularies differ in size
    dtype = 4  # one of the two is not float32
    history = 5  # the tokens before this position differ, so the two rows answer different questions
    missing = 6  # in the base only
    extra = 7  # in the new folder only


COMPARED = (RowStatus.passed, RowStatus.failed, RowStatus.nan)
NOT_COMPARED = RowStatus.missing  # what a row is until something better is known


@dataclass(slots=True)
class RowTable:
    """Columns over all rows of both folders, by prompt id, then position. Figures of rows not compared are NaN."""

    prompt_ids: list[str]  # ascending; `prompt` indexes it
    prompt: NDArray[np.int32]
    position: NDArray[np.int32]  # absolute position of the token that was fed
    batch_size: NDArray[np.int32]  # sequences in the step that made the new row; 0 if missing
    status: NDArray[np.uint8]  # RowStatus
    bit_equal: NDArray[np.bool_]
    max_abs: NDArray[np.float32]
    mean_abs: NDArray[np.float32]
    worst_token: NDArray[np.int32]  # vocabulary index of max_abs; -1 if not looked for
    max_ulp: NDArray[np.float64]  # integers; NaN like the next four if not measured
    worst_ulp: NDArray[np.float64]  # at worst_token
    kl: NDArray[np.float32]  # nats, of new from base
    top1_equal: NDArray[np.float32]  # 1 or 0
    top5_share: NDArray[np.float32]  # share of the base's five top tokens that are among the new row's

    def __len__(self) -> int:
        return len(self.prompt)

    def has_status(self, *statuses: RowStatus) -> NDArray[np.bool_]:
        """Mask of the rows that have one of the statuses."""
        return np.isin(self.status, statuses)


def empty_table(prompt_ids: list[str], num_rows: int) -> RowTable:
    """A table of `num_rows` rows, none compared yet."""

    def nans() -> NDArray[np.float32]:
        return np.full(num_rows, np.nan, np.float32)

    return RowTable(
        prompt_ids=prompt_ids,
        prompt=np.zeros(num_rows, np.int32),
        position=np.zeros(num_rows, np.int32),
        batch_size=np.zeros(num_rows, np.int32),
        status=np.full(num_rows, NOT_COMPARED, np.uint8),
        bit_equal=np.zeros(num_rows, np.bool_),
        max_abs=nans(),
        mean_abs=nans(),
        worst_token=np.full(num_rows, -1, np.int32),
        max_ulp=nans().astype(np.float64),
        worst_ulp=nans().astype(np.float64),
        kl=nans(),
        top1_equal=nans(),
        top5_share=nans(),
    )
