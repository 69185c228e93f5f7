"""Records survive Parquet unchanged; the spool gives back what was written before a cut."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness import records
from harness.load import spool
from harness.load.spool import Frame, SpoolWriter
from harness.records import Outcome, RecordsError, RequestRecord

FULL = RequestRecord(
    index=0,
    prompt_id="0.1",
    outcome=Outcome.finished,
    max_new_tokens=3,
    scheduled_ns=0,
    sent_ns=10,
    headers_ns=20,
    ended_ns=3_600 * 10**9,  # an hour does not fit 32 bits
    http_status=200,
    server_request_id="r-1",
    attempts=1,
    prompt_tokens=4,
    output_tokens=3,
    finish_reason="length",
    text="über\u2028",
    token_ids=[5, 6, 7],
    chunk_times_ns=[20, 3_600 * 10**9],
    chunk_tokens=[1, 2],
    read_lags_ns=[1, 2],
    server_queue_ms=0.5,
    server_prefill_ms=1.5,
    server_decode_ms=2.5,
    worker=1,
)
LOST = RequestRecord(1, "1", Outcome.lost, 3, scheduled_ns=None, error_class="no_account")


def test_parquet_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    records.write(path, [FULL, LOST], {"start_unix_s": 1.5})
    read, about = records.read(path)
    assert read == [FULL, LOST]
    assert about["start_unix_s"] == 1.5
    assert [p.name for p in tmp_path.iterdir()] == ["records.parquet"]


def test_empty_round_trip(tmp_path: Path) -> None:
    records.write(tmp_path / "r.parquet", [])
    assert records.read(tmp_path / "r.parquet")[0] == []


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    with pytest.raises(RecordsError, match=r"records\.parquet: cannot be read"):
        records.read(path)
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(RecordsError, match=r"records\.parquet: cannot be read"):
        records.read(path)


def test_spool_reads_up_to_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "w.frames"
    writer = SpoolWriter(path)
    first = Frame(0, "complete", 1, 9, 2, times_ns=[3, 4], lags_ns=[0, 0], sizes=[2, 3])
    second = replace(first, index=1)
    writer.write(first, [b"a\n", b"\nbc"])
    writer.write(second, [b"12", b"345"])
    writer.close()
    whole = path.read_bytes()
    assert list(spool.read(path)) == [(first, b"a\n\nbc"), (second, b"12345")]
    assert list(first.pieces(b"a\n\nbc")) == [(3, b"a\n"), (4, b"\nbc")]
    half = len(whole) // 2
    for cut in range(half, len(whole)):
        path.write_bytes(whole[:cut])
        assert list(spool.read(path)) == [(first, b"a\n\nbc")]
