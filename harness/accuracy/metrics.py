"""The figures of one comparison, flat, under the names they have everywhere. Pure: from the table of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.accuracy.table import COMPARED, RowStatus, RowTable
from harness.accuracy.text import TextMatch


@dataclass
class AccuracyMetrics:
    """Summary of a comparison. Rows that exist on one side only, or cannot be compared, count as not passed.

    `max_abs_diff`, `mean_abs_diff` and the worst case (row and token of `max_abs_diff`) are over compared rows without
    NaN; figures that nothing was measured for are None. `max_ulp_diff` is mostly that of two tiny values on either
    side of zero; `worst_ulp_diff` is the worst case's. `top1_agreement` is the share of rows whose largest logit is at
    the same token, `top5_agreement` the mean share of the base's five top tokens among the new row's five. The first
    divergent row is the first, by prompt id and position, whose top token differs.
    """

    allclose_pass_rate: float
    allclose_rows_total: int
    allclose_rows_passed: int
    allclose_rows_failed: int
    allclose_rows_nan: int
    allclose_rows_missing: int
    allclose_rows_extra: int
    allclose_rows_shape: int
    allclose_rows_dtype: int
    allclose_rows_history: int
    allclose_requests_total: int
    allclose_requests_passed: int  # all rows passed
    allclose_atol: float
    allclose_rtol: float
    bit_equal_rate: float
    max_abs_diff: float | None
    max_abs_diff_p50: float | None  # over rows, of each row's largest difference
    max_abs_diff_p99: float | None
    mean_abs_diff: float | None
    max_ulp_diff: float | None
    worst_ulp_diff: float | None
    worst_prompt_id: str | None
    worst_position: int | None
    worst_token_id: int | None
    worst_batch_size: int | None
    first_failed_prompt_id: str | None
    first_failed_position: int | None
    first_failed_reason: str | None
    first_unequal_prompt_id: str | None  # the first row that is not equal bit for bit
    first_unequal_position: int | None
    kl_mean: float | None
    kl_max: float | None
    top1_agreement: float | None
    top5_agreement: float | None
    first_divergent_prompt_id: str | None
    first_divergent_position: int | None
    text_match_rate: float | None  # requests, of those in both folders whose choices are known
    token_match_rate: float | None  # the same choice, of those made after the same tokens

    @property
    def rows_compared(self) -> int:
        """Rows that had a counterpart of the same shape, type and history."""
        return self.allclose_rows_passed + self.allclose_rows_failed + self.allclose_rows_nan


def meets_bar(metrics: AccuracyMetrics, min_pass_rate: float, bit_exact: bool = False) -> bool:
    """Whether enough rows agree. Nothing compared is never a pass, whatever the bar."""
    rate = metrics.bit_equal_rate if bit_exact else metrics.allclose_pass_rate
    return metrics.rows_compared > 0 and rate >= min_pass_rate


def summarise(table: RowTable, atol: float, rtol: float, texts: TextMatch) -> AccuracyMetrics:
    """Reduce the table of rows and what is known of the texts."""
    counts = {status: int(np.count_nonzero(table.status == status)) for status in RowStatus}
    passed = table.has_status(RowStatus.passed)
    compared = table.has_status(*COMPARED)
    failures = np.flatnonzero(~passed)
    divergent = np.flatnonzero(table.top1_equal == 0)
    measurable = np.where(table.has_status(RowStatus.passed, RowStatus.failed), table.max_abs, -1)
    worst = int(measurable.argmax()) if len(table) and measurable.max() >= 0 else None
    rows_in = np.bincount(table.prompt, minlength=len(table.prompt_ids))
    passed_in = np.bincount(table.prompt[passed], minlength=len(table.prompt_ids))

    def where(line: int) -> tuple[str, int]:
        return table.prompt_ids[table.prompt[line]], int(table.position[line])

    def prompt_and_position(line: int | None) -> tuple[str, int] | tuple[None, None]:
        return (None, None) if line is None else where(line)

    worst_prompt_id, worst_position = prompt_and_position(worst)
    failed_prompt_id, failed_position = prompt_and_position(int(failures[0]) if len(failures) else None)
    divergences = [where(int(divergent[0]))] if len(divergent) else []
    divergences += [texts.first_divergent] if texts.first_divergent else []
    divergent_prompt_id, divergent_position = min(divergences, default=(None, None))
    unequal = np.flatnonzero(~table.bit_equal)
    unequal_prompt_id, unequal_position = prompt_and_position(int(unequal[0]) if len(unequal) else None)
    finite = compared & np.isfinite(table.mean_abs)
    return AccuracyMetrics(
        allclose_pass_rate=counts[RowStatus.passed] / max(1, len(table)),
        allclose_rows_total=len(table),
        allclose_rows_passed=counts[RowStatus.passed],
        allclose_rows_failed=counts[RowStatus.failed],
        allclose_rows_nan=counts[RowStatus.nan],
        allclose_rows_missing=counts[RowStatus.missing],
        allclose_rows_extra=counts[RowStatus.extra],
        allclose_rows_shape=counts[RowStatus.shape],
        allclose_rows_dtype=counts[RowStatus.dtype],
        allclose_rows_history=counts[RowStatus.history],
        allclose_requests_total=len(table.prompt_ids),
        allclose_requests_passed=int(np.count_nonzero((rows_in > 0) & (rows_in == passed_in))),
        allclose_atol=atol,
        allclose_rtol=rtol,
        bit_equal_rate=int(np.count_nonzero(table.bit_equal)) / max(1, len(table)),
        max_abs_diff=None if worst is None else float(table.max_abs[worst]),
        max_abs_diff_p50=_percentile(measurable, 50),
        max_abs_diff_p99=_percentile(measurable, 99),
        mean_abs_diff=_mean(table.mean_abs[finite]),
        max_ulp_diff=_max(table.max_ulp),
        worst_ulp_diff=None if worst is None else _max(table.worst_ulp[worst : worst + 1]),
        worst_prompt_id=worst_prompt_id,
        worst_position=worst_position,
        worst_token_id=None if worst is None else int(table.worst_token[worst]),
        worst_batch_size=None if worst is None else int(table.batch_size[worst]),
        first_failed_prompt_id=failed_prompt_id,
        first_failed_position=failed_position,
        first_failed_reason=RowStatus(table.status[failures[0]]).name if len(failures) else None,
        first_unequal_prompt_id=unequal_prompt_id,
        first_unequal_position=unequal_position,
        kl_mean=_mean(table.kl),
        kl_max=_max(table.kl),
        top1_agreement=_mean(table.top1_equal),
        top5_agreement=_mean(table.top5_share),
        first_divergent_prompt_id=divergent_prompt_id,
        first_divergent_position=divergent_position,
        text_match_rate=texts.request_rate,
        token_match_rate=texts.token_rate,
    )


def _percentile(values: NDArray[np.float32], percent: float) -> float | None:
    """Of the values that are not negative, the mark of what was not measured."""
    known = values[values >= 0]
    value = float(np.percentile(known, percent)) if len(known) else math.nan
    return value if math.isfinite(value) else None


def _mean(values: NDArray[np.float32]) -> float | None:
    known = values[~np.isnan(values)]
    mean = float(known.mean(dtype=np.float64)) if len(known) else math.nan
    return mean if math.isfinite(mean) else None


def _max(values: NDArray[np.float32] | NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.max()) if len(known) and math.isfinite(known.max()) else None
