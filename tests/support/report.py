"""A small run made by hand, for tests of reports."""

from __future__ import annotations

from harness.config import ArrivalConfig
from harness.load import arrivals
from harness.measure import metrics
from harness.records import Outcome, RequestRecord
from harness.report import AccuracyStatus, PointView, RunView, Verdict

MS = 1_000_000


def request(index: int, rate: float, num_tokens: int = 6, gap_ms: int = 20) -> RequestRecord:
    """Sent on time; 5 ms in the queue, 10 ms of prefill, then a token every gap_ms."""
    sent_ns = round(index / rate * 1e9)
    times = [sent_ns + (15 + gap_ms * number) * MS for number in range(num_tokens)]
    return RequestRecord(
        index, f"prompt-{index}", Outcome.finished, num_tokens, scheduled_ns=sent_ns, sent_ns=sent_ns + 100_000,
        ended_ns=times[-1] + MS, output_tokens=num_tokens, chunk_times_ns=times, chunk_tokens=[1] * num_tokens,
        server_queue_ms=5.0, server_prefill_ms=10.0, server_decode_ms=gap_ms * (num_tokens - 1.0),
    )  # fmt: skip


def point(rate: float, count: int = 20, failed: int = 0) -> PointView:
    """`count` requests at `rate`, the last `failed` of them answered 500."""
    records = [request(index, rate) for index in range(count)]
    for record in records[count - failed :]:
        record.outcome, record.error, record.http_status = Outcome.failed, "HTTP 500 <b>oh</b>", 500
        record.chunk_times_ns, record.chunk_tokens, record.output_tokens = [], [], 0
    schedule = arrivals.schedule(ArrivalConfig(rate=rate, duration_s=count / rate))
    row = metrics.flat(metrics.summarise(records, schedule))
    return PointView(f"{rate:g} requests/s, constant", row, rate, records)


def run(*points: PointView, passed: bool = True) -> RunView:
    """A run of these points."""
    status = AccuracyStatus.not_checked
    verdict = Verdict(passed, status, [] if passed else ["of 20 requests 1 failed <i>badly</i>"])
    params = {"serving.batch.decode": "8", "model.name": "tiny", "workload.arrivals.rate": "2.0"}
    return RunView("smoke: tiny on cpu", verdict, list(points), files="outputs/x", params=params)
