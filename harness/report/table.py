"""The verdict table printed at the end of a run: 80 columns, readable without colour. It computes no figures."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.accuracy import AccuracyMetrics
from harness.accuracy.sentence import describe
from harness.report.verdict import NOT_FINISHED, AccuracyStatus, Verdict
from harness.report.view import PointView, RunView, figure

LATENCIES = {"TTFT": "ttft_ms", "TPOT": "tpot_ms", "ITL": "itl_ms", "E2EL": "e2el_ms"}
PERCENTILES = ("p50", "p90", "p99")
ALWAYS_NAMED = ("rejected", "failed", "cancelled")
FEW_SAMPLES = "~ fewer samples than this percentile needs"


def print_verdict(view: RunView, console: Console) -> None:
    """Print the table; colours only if the console is a terminal."""
    console.print(verdict_table(view))


def verdict_table(view: RunView) -> RenderableType:
    """The whole table: headline, requests, times, latencies, accuracy, doubts, and where everything is."""
    one = len(view.points) == 1
    parts: list[RenderableType] = [Text(), _headline(view), Text()]
    if one:
        parts += [_facts(view, view.points[0]), Text(), _latency_table(view.points[0].metrics)]
    else:
        parts += [_facts(view, None)]
        parts += [Text(), _points_table(view)] if view.points else []
    if view.distrust:
        parts += [Text("\nReasons to distrust these figures", style="bold yellow")]
        parts += [Padding(_hanging("-", Text(reason)), (0, 0, 0, 2)) for reason in view.distrust]
    where = Table.grid(padding=(0, 2))
    for name, text in (("files", view.files), ("MLflow", view.ui)):
        if text:
            where.add_row(Text(name, style="dim"), Text(text, overflow="fold"))
    return Group(*parts, Text(), where)


def _headline(view: RunView) -> Group:
    passed = view.verdict.passed
    line = Text.assemble(
        (" PASS " if passed else " FAIL ", "bold reverse green" if passed else "bold reverse red"), "  "
    )
    line.append(view.title, style="bold")
    reasons = [Padding(_hanging("-", Text(reason, style="red")), (0, 0, 0, 2)) for reason in view.verdict.reasons]
    return Group(line, *reasons)


def _facts(view: RunView, point: PointView | None) -> Table:
    """What is said once: requests and times of the only point, accuracy of the run."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    if point is not None:
        metrics = point.metrics
        grid.add_row("load", point.label)
        grid.add_row("requests", requests_equation(metrics))
        grid.add_row("total time", _total_time(metrics, view.verdict))
        grid.add_row("throughput", throughput(metrics))
        if pressure := kv_pressure(metrics):
            grid.add_row("KV cache", pressure)
    if view.finding:
        grid.add_row("search", view.finding)
    grid.add_row("accuracy", accuracy_text(view.verdict, view.accuracy, view.bit_exact))
    return grid


def requests_equation(metrics: Mapping[str, object]) -> str:
    """N = finished + rejected + failed + cancelled, and the rarer ends where there are any."""
    named = [name for name in NOT_FINISHED if name in ALWAYS_NAMED or metrics.get(f"requests_{name}")]
    terms = [f"{figure(metrics, f'requests_{name}')} {name.replace('_', ' ')}" for name in ("finished", *named)]
    return f"{figure(metrics, 'requests_total')} = " + " + ".join(terms)


def throughput(metrics: Mapping[str, object]) -> str:
    """Requests and output tokens per second, with the steady window's where it is known."""
    text = f"{figure(metrics, 'requests_per_s')} requests/s, {figure(metrics, 'output_tokens_per_s')} output tokens/s"
    steady = figure(metrics, "steady_output_tokens_per_s")
    return text if steady == "–" else f"{text} (steady: {steady})"


def kv_pressure(metrics: Mapping[str, object]) -> str:
    """How often the server ran out of KV blocks, and how full its cache was; '' where it didn't tell."""
    preemptions, use = (metrics.get(f"server_{name}") for name in ("preemptions", "kv_use_max"))
    if not isinstance(preemptions, int | float):
        return ""
    times = "no preemptions" if preemptions == 0 else f"{preemptions:,.0f} preemption{'s' * (preemptions != 1)}"
    return f"{times}; the KV cache was at most {100 * use:.3g} % full" if isinstance(use, int | float) else times


def accuracy_text(verdict: Verdict, accuracy: AccuracyMetrics | None, bit_exact: bool) -> Text:
    """The comparison in words, led by its outcome."""
    style = {AccuracyStatus.passed: "green", AccuracyStatus.not_checked: "yellow"}.get(verdict.accuracy, "bold red")
    text = Text(verdict.accuracy.value.replace("_", " "), style=style)
    if accuracy is not None:
        text.append("\n".join(["", *describe(accuracy, bit_exact)]), style="default not bold")
    return text


def _total_time(metrics: Mapping[str, object], verdict: Verdict) -> Text:
    floor = figure(metrics, "arrival_floor_s", "s")
    text = Text(f"{figure(metrics, 'total_time_s', 's')} (arrivals alone take {floor})")
    return _marked(text, verdict)


def _marked(text: Text, verdict: Verdict) -> Text:
    return text.append(f"  ✗ {verdict.mark}", style="bold red") if verdict.mark else text


def _latency_table(metrics: Mapping[str, object]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2), show_edge=False)
    table.add_column("latency, ms", style="dim")
    for name in (*PERCENTILES, "mean"):
        table.add_column(name, justify="right", min_width=8)
    for label, name in LATENCIES.items():
        cells = [percentile(metrics, f"{name}_{p}") for p in PERCENTILES]
        table.add_row(label, *cells, figure(metrics, f"{name}_mean"))
    if any(f"{name}_{p}" in _unsupported(metrics) for name in LATENCIES.values() for p in PERCENTILES):
        table.caption, table.caption_justify = FEW_SAMPLES, "left"
    return table


def _points_table(view: RunView) -> Table:
    """One line per point of a rate sweep."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("load", style="dim", vertical="bottom")
    columns = {
        "fin-\nished": None, "total\ntime s": "total_time_s", "req\n/s": "requests_per_s",
        "tokens\n/s": "output_tokens_per_s", "TTFT\np50": "ttft_ms_p50", "ms\np99": "ttft_ms_p99",
        "TPOT\np50": "tpot_ms_p50", "ms \np99": "tpot_ms_p99",
    }  # fmt: skip
    if view.slo:
        del columns["req\n/s"]  # what room there is goes to what was searched for
        columns["SLO\nmet %"] = f"slo_attainment_{view.slo}"
    for name in columns:
        table.add_column(name, justify="right", vertical="bottom")
    few = False
    for point in view.points:
        finished, total = (figure(point.metrics, f"requests_{name}") for name in ("finished", "total"))
        finished = total if view.slo and finished == total else f"{finished}/{total}"
        cells = [Text(percentile(point.metrics, name, 3)) if name else Text(finished) for name in columns.values()]
        if view.slo:
            share = point.metrics.get(f"slo_attainment_{view.slo}")
            cells[-1] = Text(f"{100 * share:.1f}" if isinstance(share, float) else "–")
        cells[1] = cells[1] if not view.verdict.mark else cells[1].append(" ✗", style="bold red")
        few |= any(str(cell).startswith("~") for cell in cells)
        table.add_row(point.label, *cells)
    notes = [f"✗ {view.verdict.mark}"] if view.verdict.mark else []
    notes += [f"{point.label}: {kv_pressure(point.metrics)}" for point in view.points if _preempted(point.metrics)]
    if notes := notes + ([FEW_SAMPLES] if few else []):
        table.caption, table.caption_justify = "\n".join(notes), "left"
    return table


def percentile(metrics: Mapping[str, object], name: str, digits: int = 4) -> str:
    """A figure for people, led by ~ if too few samples support it."""
    return ("~" if name in _unsupported(metrics) else "") + figure(metrics, name, digits=digits)


def _preempted(metrics: Mapping[str, object]) -> bool:
    return bool(metrics.get("server_preemptions"))


def _unsupported(metrics: Mapping[str, object]) -> list[str]:
    names = metrics.get("unsupported")
    return names if isinstance(names, list) else []


def _hanging(bullet: str, text: Text) -> Table:
    """A bullet whose continuation lines are indented."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row(bullet, text)
    return grid
