"""Our load generator under a case, with what it says of itself."""

from __future__ import annotations

from pathlib import Path

from harness.bench.account import Account, Reported
from harness.bench.case import Case
from harness.config import ArrivalConfig, ArrivalProcess, ClientProtocol
from harness.load import arrivals, generator
from harness.load.plan import LoadPlan
from harness.load.prompts import Prompt
from harness.load.protocols import RequestOptions
from harness.measure import checks, metrics, samples
from harness.measure.checks import Check
from harness.records import Outcome, RequestRecord


def run(case: Case, url: str, folder: Path) -> Account:
    """Send the case's load as launch.py would. Raises LoadError."""
    schedule = arrivals.schedule(
        ArrivalConfig(ArrivalProcess.constant, rate=case.rate, duration_s=(case.count + 0.5) / case.rate)
    )
    some = [Prompt(str(i), case.num_tokens, text=f"prompt {i}") for i in range(schedule.count)]
    plan = LoadPlan(url, RequestOptions(ClientProtocol.completions, "reference"), some, schedule, timeout_s=60.0)
    result = generator.run(plan, folder / "spool")
    figures = metrics.summarise(result.records, schedule, confidence=False)
    reasons = checks.reasons(result, figures, schedule)
    finished = [record for record in result.records if record.outcome is Outcome.finished]
    return Account(
        [reported(record) for record in finished],
        {
            "send_error_ms_p99": figures.send_lateness_ms.p(99) or 0.0,
            "send_error_ms_max": figures.send_lateness_ms.max or 0.0,
            "read_lag_ms_p99": figures.read_lag_ms.p(99) or 0.0,
            "generator_cpus": result.generator_cpus,
            "num_workers": float(result.num_workers),
            "says_saturated": float(any(reason.check is Check.saturated for reason in reasons)),
            "priority_raised": float(result.priority_raised),
        },
    )


def reported(record: RequestRecord) -> Reported:
    """TTFT counts from the sending: lateness is an error of its own."""
    ttft_ms = samples.ttft_ms(record, since="sent_ns")
    assert record.sent_ns is not None and ttft_ms is not None
    return Reported(record.sent_ns, ttft_ms, samples.chunk_itl_ms(record), record.server_request_id)
