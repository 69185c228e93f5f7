"""Writes report.html of a run: one file that needs no network. It arranges what others computed and drew."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness import whole_file
from harness.accuracy.sentence import describe
from harness.charts import Figures, css
from harness.measure import timeline
from harness.report import accuracy_figures, figures, server_figures
from harness.report.table import (
    FEW_SAMPLES,
    LATENCIES,
    PERCENTILES,
    kv_pressure,
    percentile,
    requests_equation,
    throughput,
)
from harness.report.view import PointView, RunView, figure

_TEMPLATES = Path(__file__).parent / "templates"
# What a reader wants to know first about a configuration.
HEADLINE = (
    "model.name", "model.source", "device.name", "device.dtype", "serving.policy", "serving.batch.decode",
    "serving.cache.block_size", "serving.cache.num_blocks", "serving.prefill.max_prompts",
    "serving.prefill.max_tokens", "workload.name", "workload.arrivals.process", "workload.arrivals.rate",
    "workload.arrivals.duration_s", "workload.sweep_rates", "workload.dataset.path", "accuracy.num_prompts",
    "env.cpu", "env.cores", "env.git_commit", "env.git_dirty",
)  # fmt: skip


def write_report(path: Path, view: RunView) -> None:
    """Write the page, whole or not at all."""
    write_page(path, "run.html.j2", run_page(view))


def write_page(path: Path, template: str, content: Mapping[str, Any]) -> None:
    """Fill a template and write the file, whole or not at all."""
    environment = _environment()
    style = css() + (_TEMPLATES / "style.css").read_text()
    html = environment.get_template(template).render(style=style, **content)
    whole_file.write_text(path, html)


def run_page(view: RunView) -> dict[str, Any]:
    """What the template of a run needs."""
    params = sorted(view.params.items())
    steps = [drawn for folder in _folders(view) if (drawn := server_figures.step_parts(folder))]
    atol = view.accuracy.allclose_atol if view.accuracy else None
    return {
        "title": view.title,
        "verdict": view.verdict,
        "points": view.points,
        "finding": view.finding,
        "cards": _cards(view),
        "checks": _checks(view),
        "distrust": view.distrust,
        "accuracy_lines": describe(view.accuracy, view.bit_exact) if view.accuracy else [],
        "accuracy_figures": Figures(accuracy_figures.accuracy(view.run_dir, atol)),
        "statistics": [*PERCENTILES, "mean"],
        "latencies": _latencies(view),
        "few": FEW_SAMPLES if any(point.metrics.get("unsupported") for point in view.points) else "",
        "latency_figures": Figures(figures.latency_ecdfs(view.points)),
        "rate_figures": Figures(figures.against_rate(view.points)),
        "sections": [{"label": point.label, "figures": drawn} for point in view.points if (drawn := over_time(point))],
        "step_figures": Figures(steps[-1]) if steps else [],
        "headline_params": [(name, view.params[name]) for name in HEADLINE if view.params.get(name)],
        "params": params,
        "files": view.files,
        "ui": view.ui,
    }


def over_time(point: PointView) -> Figures:
    """All charts of one point's course: requests, server, and a line per request."""
    requests = figures.gantt(timeline.phases(point.records))
    return Figures([*figures.over_time(point), *server_figures.over_time(point), *requests])


def _cards(view: RunView) -> list[tuple[str, str]]:
    """The figures that a verdict is remembered by; of several points, the highest throughput."""
    if not view.points:
        return []
    best = max(view.points, key=lambda point: _number(point.metrics, "output_tokens_per_s"))
    at = f" at {best.label}" if len(view.points) > 1 else ""
    finished, total = (figure(best.metrics, f"requests_{name}") for name in ("finished", "total"))
    return [
        ("requests finished" + at, f"{finished}/{total}"),
        ("total time", figure(best.metrics, "total_time_s", "s")),
        ("output tokens/s" + at, figure(best.metrics, "output_tokens_per_s")),
        ("TTFT p50", figure(best.metrics, "ttft_ms_p50", "ms")),
        ("TPOT p50", figure(best.metrics, "tpot_ms_p50", "ms")),
        ("logits", view.verdict.accuracy.value.replace("_", " ")),
    ]


def _checks(view: RunView) -> list[dict[str, Any]]:
    """Requests, time and rate in words, per point."""
    return [{"label": point.label, "lines": _check_lines(point.metrics)} for point in view.points]


def _check_lines(metrics: Mapping[str, object]) -> list[str]:
    floor, late = figure(metrics, "arrival_floor_s", "s"), figure(metrics, "send_lateness_ms_p99", "ms")
    lines = [
        f"{requests_equation(metrics)} requests",
        f"{figure(metrics, 'total_time_s', 's')} in all; arrivals alone take {floor}",
        throughput(metrics),
    ]
    if late != "–":
        lines.append(f"99 % of the requests were sent within {late} of their time")
    return [*lines, pressure] if (pressure := kv_pressure(metrics)) else lines


def _latencies(view: RunView) -> list[dict[str, Any]]:
    return [{"label": point.label, "rows": _latency_rows(point.metrics)} for point in view.points]


def _latency_rows(metrics: Mapping[str, object]) -> list[tuple[str, list[str]]]:
    return [
        (name, [*(percentile(metrics, f"{key}_{p}") for p in PERCENTILES), figure(metrics, f"{key}_mean")])
        for name, key in LATENCIES.items()
    ]


def _folders(view: RunView) -> list[Path]:
    """The run's folder, then its points'."""
    return list(dict.fromkeys(folder for folder in [view.run_dir, *(p.folder for p in view.points)] if folder))


def _number(metrics: Mapping[str, object], name: str) -> float:
    value = metrics.get(name)
    return float(value) if isinstance(value, int | float) else -1.0


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
