"""What a forward pass costs, as a linear function of the step's sizes: a start for a cost model. Pure.

    decode:  forward_ms = constant + a * num_seqs + b * context_tokens
    prefill: forward_ms = constant + a * num_seqs + b * num_tokens

by ordinary least squares. The constant stands for what every step pays (above all reading the weights), the term in
context_tokens for reading K and V. Steps further than 5 scaled median absolute deviations from a first fit are left out
of the second and counted: the first step of a new shape may compile. (Rousseeuw and Croux 1993 for the scale 1.4826.)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.acceptance.step_table import column
from harness.observe.steps import of_kind

Float = NDArray[np.float64]
_TERMS = {"decode": ("num_seqs", "context_tokens"), "prefill": ("num_seqs", "num_tokens")}
_LEAST_STEPS = 12
_OUTLIER_DEVIATIONS = 5.0


@dataclass(frozen=True)
class StepFit:
    """One kind of step. A size that never varied has no term: its cost is in the constant."""

    kind: str
    num_steps: int  # fitted
    num_outliers: int  # left out
    ms: dict[str, float]  # "constant", and ms per unit of each term
    median_abs_error_ms: float
    median_abs_error_share: float  # of the measured time


def fit(tables: dict[str, pa.Table]) -> list[dict[str, Any]]:
    """One fit over all points per kind of step that has enough of them; columns as in steps.parquet."""
    if not tables:
        return []
    whole = pa.concat_tables(tables.values())
    groups = {kind: of_kind(whole, kind) for kind in _TERMS}
    return [asdict(_fit(kind, group)) for kind, group in groups.items() if len(group) >= _LEAST_STEPS]


def _fit(kind: str, group: pa.Table) -> StepFit:
    forward_ms = column(group, "forward_ns") / 1e6
    varied = [term for term in _TERMS[kind] if np.ptp(column(group, term)) > 0]
    sizes = np.column_stack([np.ones(len(group)), *(column(group, term) for term in varied)])
    errors = forward_ms - sizes @ _solve(sizes, forward_ms)
    scale = 1.4826 * float(np.median(np.abs(errors - np.median(errors))))
    kept = np.abs(errors - np.median(errors)) <= _OUTLIER_DEVIATIONS * max(scale, 1e-9)
    found = _solve(sizes[kept], forward_ms[kept])
    errors = np.abs(forward_ms[kept] - sizes[kept] @ found)
    return StepFit(
        kind=kind,
        num_steps=int(kept.sum()),
        num_outliers=int((~kept).sum()),
        ms={name: float(value) for name, value in zip(("constant", *varied), found, strict=True)},
        median_abs_error_ms=float(np.median(errors)),
        median_abs_error_share=float(np.median(errors / np.maximum(forward_ms[kept], 1e-9))),
    )


def _solve(sizes: Float, forward_ms: Float) -> Float:
    """Least squares with columns of like magnitude, which keeps the problem well conditioned."""
    magnitude = np.maximum(np.abs(sizes).max(axis=0), 1.0)
    solution: Float = np.linalg.lstsq(sizes / magnitude, forward_ms, rcond=None)[0]
    scaled: Float = solution / magnitude
    return scaled
