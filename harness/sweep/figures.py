"""Charts of a sweep, for its report and the notebooks: what is worth having, and the effect of each knob."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.charts import FAILED, NEUTRAL, Dots, Figures, axis, bars, colour, front, scatter
from harness.pareto import TOLERANCE
from harness.sweep.table import GOALS, LATENCY, THROUGHPUT, SweepRow, effects

_SPREAD = 10 * TOLERANCE  # least width of an axis: what counts as equal is drawn near
_EFFECTS_ON = {"output_tokens_per_s": "output tokens/s", "ttft_ms_p50": "TTFT p50, ms", "tpot_ms_p50": "TPOT p50, ms"}


def against_throughput(rows: Sequence[SweepRow]) -> Figures:
    """Latency against throughput of marked rows, the Pareto set joined; nothing if no row has both figures."""
    known = [row for row in rows if math.isfinite(row.figure(LATENCY)) and math.isfinite(row.figure(THROUGHPUT))]
    if not known:
        return Figures()
    x = axis("output tokens/s", [row.figure(THROUGHPUT) for row in known], zero=False, spread=_SPREAD)
    y = axis("E2EL p50, ms", [row.figure(LATENCY) for row in known], zero=False, log=None, spread=_SPREAD)
    in_set = [row for row in known if row.pareto]
    groups = {
        "Pareto set": _dots(in_set, colour(0)),
        "passed": _dots([row for row in known if row.passed and not row.pareto], NEUTRAL),
        "accuracy failed": _dots([row for row in known if not row.passed and row.accuracy == "failed"], FAILED),
        "failed": _dots([row for row in known if not row.passed and row.accuracy != "failed"], "purple"),
    }
    edge = front([(row.figure(THROUGHPUT), row.figure(LATENCY)) for row in in_set], colour(0))
    title, note = "Median E2EL against output tokens/s", "right and low is better"
    return Figures([scatter(title, x, y, groups, note, line=edge)])


def _dots(rows: Sequence[SweepRow], hue: str) -> Dots:
    xs, ys = ([row.figure(key) for row in rows] for key in (THROUGHPUT, LATENCY))
    return Dots(xs, ys, [row.name for row in rows], hue, crosses=not all(row.passed for row in rows))


def by_knob(rows: Sequence[SweepRow], knobs: Sequence[str]) -> Figures:
    """The mean of each figure by the values of each knob, and the rows behind it."""
    figures = Figures()
    for effect in effects(rows, knobs, list(_EFFECTS_ON)):
        label = _EFFECTS_ON[effect.metric]
        better = "more" if GOALS[effect.metric] else "less"
        size = f"×{effect.ratio:.2f} between" if effect.ratio > 1 + TOLERANCE else f"equal within {100 * TOLERANCE:g} %"
        title, note = f"{label} by {effect.knob.rpartition('.')[2]}", f"{better} is better; {size}"
        figures.append(bars(title, effect.knob, label, effect.means, note, single=effect.groups))
    return figures
