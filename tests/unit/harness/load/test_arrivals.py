"""Schedules are what their names say: means, variances, independence, hashes, bad input."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from harness.config import ArrivalConfig, ArrivalProcess
from harness.load import arrivals

LONG = ArrivalConfig(rate=10.0, duration_s=2000.0, seed=3)  # 20,000 requests


def gaps(process: ArrivalProcess, **changes: float) -> np.ndarray:
    schedule = arrivals.schedule(replace(LONG, process=process, **changes))
    assert len(schedule.offsets_s) == schedule.count
    assert schedule.offsets_s[0] == 0
    assert np.all(np.diff(schedule.offsets_s) >= 0)
    return np.diff(schedule.offsets_s)


def test_constant_is_constant() -> None:
    np.testing.assert_allclose(gaps(ArrivalProcess.constant), 0.1, atol=1e-9)
    schedule = arrivals.schedule(ArrivalConfig(rate=3, duration_s=10))
    assert (schedule.count, schedule.floor_s) == (30, pytest.approx(29 / 3))
    assert schedule.rate == pytest.approx(3)


def test_poisson_gaps_are_exponential_and_independent() -> None:
    drawn = gaps(ArrivalProcess.poisson)
    assert stats.kstest(drawn, stats.expon(scale=0.1).cdf).pvalue > 0.01
    assert drawn.mean() == pytest.approx(0.1, rel=4 / math.sqrt(len(drawn)))
    assert drawn.std() == pytest.approx(0.1, rel=0.04)
    for lag in (1, 2, 10):  # autocorrelation of independent gaps is within 4 standard errors of 0
        assert abs(np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]) < 4 / math.sqrt(len(drawn))
    assert len(np.unique(drawn)) == len(drawn)  # no gap is used twice


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_gamma_has_the_burstiness_asked_for(burstiness: float) -> None:
    drawn = gaps(ArrivalProcess.gamma, burstiness=burstiness)
    assert stats.kstest(drawn, stats.gamma(burstiness, scale=0.1 / burstiness).cdf).pvalue > 0.01
    assert drawn.var() == pytest.approx(0.01 / burstiness, rel=0.1)


def test_ramp_grows_linearly() -> None:
    schedule = arrivals.schedule(replace(LONG, process=ArrivalProcess.ramp))
    assert schedule.count == 10_000
    assert schedule.offsets_s[-1] < 2000
    # By half of the time a quarter of the requests has left.
    assert np.searchsorted(schedule.offsets_s, 1000.0) == pytest.approx(2500, abs=2)


def test_judge_is_nearly_constant_and_rounds_like_the_contest() -> None:
    drawn = gaps(ArrivalProcess.judge, rate=3.0)
    assert drawn.mean() == pytest.approx(0.33, rel=0.01)  # round(1 / 3, 2), not 1 / 3
    assert drawn.var() == pytest.approx(0.33e-3, rel=0.05)  # poisson in ms: variance = mean
    np.testing.assert_allclose(drawn, drawn.round(3), atol=1e-9)  # whole milliseconds
    assert np.all(gaps(ArrivalProcess.judge, rate=300.0, duration_s=10.0) == 0)  # rounds to a gap of 0
    one = arrivals.schedule(ArrivalConfig(process=ArrivalProcess.judge, rate=0.5, duration_s=2))
    assert one.count == 1
    assert one.floor_s == pytest.approx(2, abs=0.3)  # the pause after the last request counts


def test_trace_replays_the_file(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_text("# seconds\n100.5\n101\n\n101 # twice\n")
    schedule = arrivals.schedule(ArrivalConfig(process=ArrivalProcess.trace, trace_path=str(path)))
    assert schedule.offsets_s.tolist() == [0, 0.5, 0.5]
    path.write_text("1\n0.5\n")
    with pytest.raises(ValueError, match=r"trace.txt:2: '0.5'"):
        arrivals.schedule(ArrivalConfig(process=ArrivalProcess.trace, trace_path=str(path)))


@pytest.mark.parametrize("process", [process for process in ArrivalProcess if process is not ArrivalProcess.trace])
@pytest.mark.parametrize("changes", [{"rate": 1e9, "duration_s": 2.0}, {"rate": 1e300, "duration_s": 1e300}])
def test_more_requests_than_memory_holds_are_refused(process: ArrivalProcess, changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"workload\.arrivals\.rate=.*requests; at most 1,000,000$"):
        arrivals.schedule(replace(LONG, process=process, **changes))


def test_a_trace_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "MAX_REQUESTS", 3)
    path = tmp_path / "trace.txt"
    path.write_text("0\n1\n2\n3\n")
    with pytest.raises(ValueError, match=r"trace\.txt: has more than 3 send times"):
        arrivals.schedule(ArrivalConfig(process=ArrivalProcess.trace, trace_path=str(path)))


def test_closed_loop_has_no_send_times() -> None:
    schedule = arrivals.schedule(replace(LONG, process=ArrivalProcess.closed, duration_s=1, concurrency=4))
    assert (schedule.count, schedule.concurrency, len(schedule.offsets_s), schedule.floor_s) == (10, 4, 0, 0)


def test_hash_tells_schedules_apart_and_nothing_else() -> None:
    poisson = replace(LONG, process=ArrivalProcess.poisson)
    first = arrivals.schedule(poisson)
    assert arrivals.schedule(poisson).hash == first.hash
    assert arrivals.schedule(replace(poisson, concurrency=99)).hash == first.hash
    others = [replace(poisson, seed=4), replace(poisson, rate=11.0), replace(poisson, process=ArrivalProcess.constant)]
    assert len({first.hash, *(arrivals.schedule(other).hash for other in others)}) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 0.0}, r"workload\.arrivals\.rate=0\.0: must be"),
        ({"rate": -1.0}, r"rate=-1\.0"),
        ({"rate": math.nan}, "rate=nan"),
        ({"duration_s": 0.0}, "duration_s=0"),
        ({"rate": 0.1, "duration_s": 5.0}, "gives no request"),
        ({"process": ArrivalProcess.gamma, "burstiness": 0.0}, "burstiness=0"),
        ({"process": ArrivalProcess.closed, "concurrency": 0}, "concurrency=0"),
        ({"process": ArrivalProcess.trace, "trace_path": ""}, r"trace_path=: must be an existing file"),
        (
            {"process": ArrivalProcess.trace, "trace_path": "nowhere.txt"},
            r"trace_path=nowhere\.txt: must be an existing file",
        ),
    ],
)
def test_bad_input_is_one_clear_line(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        arrivals.schedule(replace(LONG, **changes))
    assert "\n" not in str(caught.value)
