"""Runs a sweep's variants one by one or as they come: recognises finished ones, records failures, says how far it is.

It does not know how a variant is run: that is a function it is given.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from harness import claim, run_folder, whole_file
from harness.sweep import plan as plans
from harness.sweep import progress, variant
from harness.sweep.plan import PlannedVariant, SweepPlan
from harness.sweep.variant import VariantResult

EXIT_CRASHED = 3  # as for a process that died
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class Place:
    """Where a variant stands in its sweep."""

    sweep_dir: Path
    run_dir: Path
    number: int  # from 0


def begin(folder: Path, plan: SweepPlan, resume: bool, console: Console) -> Path:
    """Decide which folder the sweep works in, and keep the plan there: an interrupted sweep's own, or a new one."""
    earlier = plans.unfinished(folder, plan) if resume else None
    if earlier and not claim.hold(earlier):
        _say(console, f"the same sweep is being run by another command in {earlier}; this one has a folder of its own")
        earlier = None
    sweep_dir = earlier or claim.claim(folder, "_sweep")
    claim.hold(sweep_dir)
    ended = variant.read_all(sweep_dir)
    kept = [r for r in ended.values() if r.complete]
    if earlier:
        _say(console, f"goes on with the interrupted sweep {sweep_dir} (resume=false starts anew)")
    plans.save(sweep_dir, plan)
    _say(console, progress.sentence(plan, kept))
    return sweep_dir


def run_variant(
    place: Place, planned: PlannedVariant, resume: bool, console: Console, work: Callable[[], int]
) -> VariantResult:
    """Run one variant unless it was finished before; whatever goes wrong in it is recorded and the sweep goes on.

    `work` returns the exit status of a single run. Ctrl-C passes, and leaves the variant to be run again.
    """
    earlier = variant.finished_before(place.run_dir, planned.digest) if resume else None
    if earlier is not None:
        _say(console, f"variant {place.number} was finished before: {' '.join(planned.overrides)}")
        return earlier
    variant.set_aside(place.run_dir)
    started_s = time.monotonic()
    try:
        status, reason = work(), ""
    except Exception as error:
        status, reason = EXIT_CRASHED, f"{type(error).__name__}: {error}".splitlines()[0]
        whole_file.write_text(place.run_dir / run_folder.ERROR_LOG, traceback.format_exc())
        _say(console, f"variant {place.number} failed: {reason} (see {place.run_dir / run_folder.ERROR_LOG})")
    found = run_folder.metrics_of(place.run_dir)
    result = VariantResult(
        place.number,
        planned.overrides,
        planned.digest,
        status,
        time.monotonic() - started_s,
        reason or str(found.get("incomplete_reason", f"it left no {run_folder.METRICS}")),
    )
    variant.write(place.run_dir, result)
    _say_progress(place.sweep_dir, console, at_once=1)
    return result


@contextmanager
def watched(sweep_dir: Path, console: Console) -> Iterator[None]:
    """While variants run elsewhere, in other processes or on other machines: say so whenever one of them ends."""
    over = threading.Event()

    def watch() -> None:
        seen = len(variant.read_all(sweep_dir))
        started_s, before = time.monotonic(), seen
        while not over.wait(_LOOK_EVERY_S):
            ended = variant.read_all(sweep_dir)
            if len(ended) != seen:
                seen = len(ended)
                busy_s = sum(result.duration_s for result in list(ended.values())[before:])
                _say_progress(sweep_dir, console, max(1, round(busy_s / (time.monotonic() - started_s))))

    thread = threading.Thread(target=watch, name="sweep progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def objective(result: VariantResult, run_dir: Path, names: list[str]) -> float | tuple[float, ...] | None:
    """What a search optimises: the named metrics of a variant that passed; None for any other, which says nothing."""
    found = run_folder.metrics_of(run_dir)
    values = [found.get(name) for name in names]
    known = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if result.exit_status or len(known) != len(names):
        return None
    return known[0] if len(known) == 1 else tuple(known)


def _say_progress(sweep_dir: Path, console: Console, at_once: int) -> None:
    plan = plans.load(sweep_dir)
    if plan is not None:
        _say(console, progress.sentence(plan, variant.read_all(sweep_dir).values(), at_once))


def _say(console: Console, text: str) -> None:
    console.print(f"sweep: {text}", markup=False, soft_wrap=True, highlight=False)
