"""Plots in one style, with the reports' colours. Every function draws on the axes it is given and returns them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from harness.report.palette import FAILED, LIGHT, ORDER, PHASES
from harness.sweep.table import natural

COLOURS = [LIGHT[name] for name in ORDER]
_STYLE: dict[str, Any] = {
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=["-", "--", ":", "-.", "-", "--", ":"]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.figsize": (8.0, 4.0),
    "grid.color": "#D9DDE3",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def use_style() -> None:
    """Make matplotlib draw as the reports do; call once per notebook."""
    plt.style.use(_STYLE)


def ecdf(axes: Axes, values: Mapping[str, pd.Series], label: str) -> Axes:
    """Share of samples at or below each value, a line per name. label: of the x axis, with unit."""
    for name, series in values.items():
        known = np.sort(series.dropna().to_numpy())
        if len(known):
            axes.step(known, np.arange(1, len(known) + 1) / len(known), where="post", label=f"{name} ({len(known)})")
    axes.set(xlabel=label, ylabel="share of samples", ylim=(0, 1.02))
    axes.legend()
    return axes


def against(axes: Axes, frame: pd.DataFrame, x: str, ys: Sequence[str], label: str) -> Axes:
    """Lines of figures against a number, such as latency against rate; confidence intervals where the run has them."""
    ordered = frame.sort_values(x)
    for order, y in enumerate(ys):
        axes.plot(ordered[x], ordered[y], marker="o", label=y)
        low, high = f"{y}_ci95_low", f"{y}_ci95_high"
        if low in ordered and high in ordered:
            axes.fill_between(ordered[x], ordered[low], ordered[high], alpha=0.15, color=COLOURS[order % len(COLOURS)])
    axes.set(xlabel=x, ylabel=label)
    _from_zero(axes)
    axes.legend()
    return axes


def effect(axes: Axes, frame: pd.DataFrame, knob: str, metric: str) -> Axes:
    """A figure by the values of one knob: every variant a dot, the means joined."""
    names = sorted(frame[knob].astype(str).unique(), key=natural)
    groups = [frame.loc[frame[knob].astype(str) == name, metric] for name in names]
    axes.plot(range(len(names)), [group.mean() for group in groups], marker="_", markersize=18)
    for place, group in enumerate(groups):
        axes.plot([place] * len(group), group, "o", color=COLOURS[0], alpha=0.5)
    axes.set(xlabel=knob, ylabel=metric, xticks=range(len(names)), xticklabels=names, xlim=(-0.5, len(names) - 0.5))
    _from_zero(axes)
    return axes


def pareto(axes: Axes, frame: pd.DataFrame, throughput: str, latency: str, labels: pd.Series) -> Axes:
    """Latency against throughput: passed variants as dots, others as crosses, those that nothing beats joined."""
    passed = frame[frame["verdict"] == "pass"]
    failed = frame[frame["verdict"] != "pass"]
    axes.plot(passed[throughput], passed[latency], "o", label="passed")
    if len(failed):
        axes.plot(failed[throughput], failed[latency], "x", color=LIGHT[FAILED], label="failed")
    front = pareto_set(passed, throughput, latency).sort_values(throughput)
    axes.plot(front[throughput], front[latency], color=COLOURS[0], linestyle="-", label="Pareto set")
    for index in front.index:
        at = (front.loc[index, throughput], front.loc[index, latency])
        axes.annotate(str(labels.loc[index]), at, textcoords="offset points", xytext=(6, 4), fontsize=8)
    axes.set(xlabel=throughput, ylabel=latency)
    axes.legend()
    return axes


def pareto_set(frame: pd.DataFrame, throughput: str, latency: str) -> pd.DataFrame:
    """The rows that no other beats: at least as good in throughput and latency, and better in one of them."""
    known = frame.dropna(subset=[throughput, latency])
    fast, late = known[throughput].to_numpy(), known[latency].to_numpy()
    better = (fast[:, None] >= fast) & (late[:, None] <= late) & ((fast[:, None] > fast) | (late[:, None] < late))
    found: pd.DataFrame = known[~better.any(axis=0)]
    return found


def gantt(axes: Axes, requests: pd.DataFrame, num_requests: int = 200) -> Axes:
    """Queue, prefill and decode of each request, a line each; at most `num_requests`, evenly chosen."""
    sent = requests.dropna(subset=["sent_s"]).sort_values("sent_s")
    keep = np.unique(np.linspace(0, len(sent) - 1, min(len(sent), num_requests)).astype(int)) if len(sent) else []
    rows = sent.iloc[keep]
    places = np.arange(len(rows))
    begun = rows["first_token_s"].fillna(rows["ended_s"])
    prefill = rows["prefill_s"].fillna(begun)
    for name, start, end in (
        ("queue", rows["sent_s"], prefill),
        ("prefill", prefill, begun),
        ("decode", begun, rows["ended_s"]),
    ):
        axes.barh(places, end - start, left=start, height=0.8, color=LIGHT[PHASES[name]], label=name)
    axes.set(xlabel="time since the start, s", ylabel="requests, in order of sending", yticks=[])
    axes.invert_yaxis()
    axes.legend()
    return axes


def intervals(axes: Axes, comparison: pd.DataFrame) -> Axes:
    """Each metric's change from A to B with its interval; 0 = no difference."""
    colours = {"faster": LIGHT["green"], "slower": LIGHT["vermillion"]}
    columns = (comparison[name].tolist() for name in ("low", "high", "change", "verdict"))
    for place, (low, high, change, verdict) in enumerate(zip(*columns, strict=True)):
        hue = colours.get(verdict, LIGHT["grey"])
        axes.plot([low, high], [place, place], color=hue, linestyle="-", linewidth=3, alpha=0.6)
        axes.plot([change], [place], "o", color=hue)
    axes.axvline(0, color="black", linewidth=1, linestyle="-")
    axes.set(yticks=range(len(comparison)), yticklabels=comparison["metric"], xlabel="change from A to B")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.invert_yaxis()
    return axes


def _from_zero(axes: Axes) -> None:
    """Show the whole range from 0, so that lengths can be compared by eye."""
    axes.set_ylim(0, axes.dataLim.y1 * 1.08 or 1)
