"""How far a sweep has come, in one line, and how long the rest may take. Pure."""

from __future__ import annotations

from collections.abc import Collection

from harness.sweep.plan import SweepPlan
from harness.sweep.variant import VariantResult


def sentence(plan: SweepPlan, ended: Collection[VariantResult], at_once: int = 1) -> str:
    """Such as "3 of 12 variants ended, 1 of them failed; about 4 min left". at_once: variants that run in parallel."""
    total = len(plan.variants)
    failed = sum(result.exit_status != 0 for result in ended)
    text = f"{len(ended)} of {total} variants ended" if total else f"{len(ended)} ended"
    text += f", {failed} of them failed" if failed else ""
    if not total or len(ended) >= total:
        return text
    left_s = time_left_s(plan, ended) / at_once
    known = any(result.duration_s for result in ended)
    return f"{text}; {'about' if known else 'at least'} {duration(left_s)} left"


def time_left_s(plan: SweepPlan, ended: Collection[VariantResult]) -> float:
    """Rest of the sweep, one variant at a time: each as long as its load and what the ended ones took beyond theirs.

    Before any has ended, the loads alone: the least it can take.
    """
    done = {result.number for result in ended}
    overheads = [
        result.duration_s - plan.variants[result.number].load_s
        for result in ended
        if result.complete and result.number < len(plan.variants)
    ]
    overhead_s = max(0.0, sum(overheads) / len(overheads)) if overheads else 0.0
    return sum(variant.load_s + overhead_s for number, variant in enumerate(plan.variants) if number not in done)


def duration(seconds: float) -> str:
    """For people: 8 s, 4 min, 2 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
