"""What happened to each request: the record, and its Parquet file. It knows no protocols and computes no statistics."""

from __future__ import annotations

import dataclasses
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from harness import whole_file


class Outcome(StrEnum):
    """How a request ended; exactly one of these."""

    finished = "finished"  # the whole reply arrived and says so itself
    rejected = "rejected"  # HTTP 429 or 503: the server refused before it began
    failed = "failed"  # any other error, of the server, the connection or the reply
    timed_out = "timed_out"  # older than timeout_s from its scheduled time; the connection was closed
    cancelled = "cancelled"  # the run was stopped while it was under way or not sent yet
    lost = "lost"  # nothing is known: its load worker died


@dataclass(slots=True)
class RequestRecord:
    """One request. Times are ns on CLOCK_MONOTONIC since the start of the timed window; None = it never happened.

    A chunk is one message of the stream that carries tokens; chunk_times_ns [num_chunks] and chunk_tokens
    [num_chunks] say when it arrived and how many tokens it held. `output_tokens` is the server's own count where it
    gives one, and else the sum of chunk_tokens. read_lags_ns [num_reads]: how long bytes lay in the kernel before
    this process read them (the arrival times above are the kernel's, so they do not contain it).
    """

    index: int
    prompt_id: str
    outcome: Outcome
    max_new_tokens: int
    _: KW_ONLY
    scheduled_ns: int | None = None
    sent_ns: int | None = None
    headers_ns: int | None = None
    ended_ns: int | None = None
    error_class: str = ""
    error: str = ""
    http_status: int | None = None
    server_request_id: str = ""
    attempts: int = 0
    prompt_tokens: int | None = None
    output_tokens: int = 0
    finish_reason: str = ""
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    chunk_times_ns: list[int] = field(default_factory=list)
    chunk_tokens: list[int] = field(default_factory=list)
    read_lags_ns: list[int] = field(default_factory=list)
    server_queue_ms: float | None = None
    server_prefill_ms: float | None = None
    server_decode_ms: float | None = None
    worker: int = 0

    @property
    def first_token_ns(self) -> int | None:
        """Arrival of the first chunk that carries a token."""
        return self.chunk_times_ns[0] if self.chunk_times_ns else None

    @property
    def last_token_ns(self) -> int | None:
        """Arrival of the last chunk that carries a token."""
        return self.chunk_times_ns[-1] if self.chunk_times_ns else None


_TYPES = {Outcome: pa.string(), str: pa.string(), float: pa.float64(), int: pa.int32()}


def _column(name: str, hint: Any) -> tuple[str, pa.DataType]:
    """The column of a field: instants and durations in ns take 64 bits, other whole numbers 32."""
    (kind,) = [kind for kind in get_args(hint) or (hint,) if kind is not NoneType]
    column = pa.int64() if name.endswith("_ns") else _TYPES[kind]
    return name, pa.list_(column) if get_origin(hint) is list else column


_HINTS = get_type_hints(RequestRecord)
_SCHEMA = pa.schema([_column(field.name, _HINTS[field.name]) for field in dataclasses.fields(RequestRecord)])
_FORMAT = 1
_METADATA_KEY = b"plumbline"


class RecordsError(ValueError):
    """A records file that cannot be read; one line that names it."""


def write(path: Path, records: list[RequestRecord], metadata: dict[str, Any] | None = None) -> None:
    """Write records (and run-level metadata, JSON) as Parquet; the file appears whole or not at all."""
    rows = [dataclasses.asdict(record) for record in records]
    about = {"format": _FORMAT, **(metadata or {})}
    table = pa.Table.from_pylist(rows, schema=_SCHEMA.with_metadata({_METADATA_KEY: orjson.dumps(about)}))
    with whole_file.writing(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read(path: Path) -> tuple[list[RequestRecord], dict[str, Any]]:
    """Read records and metadata. Raises RecordsError for a missing, corrupt or foreign file."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise RecordsError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from None
    about = orjson.loads((table.schema.metadata or {}).get(_METADATA_KEY, b"{}"))
    missing = [name for name in _SCHEMA.names if name not in table.column_names]
    if about.get("format") != _FORMAT or missing:
        raise RecordsError(
            f"{path}: records format {about.get('format')}, expected {_FORMAT}; missing columns {missing}"
        )
    rows = table.select(_SCHEMA.names).to_pylist()
    return [RequestRecord(**{**row, "outcome": Outcome(row["outcome"])}) for row in rows], about
