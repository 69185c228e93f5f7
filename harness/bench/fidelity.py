"""How true are a load generator's figures? Ours and, where installed, its peers, against a server that knows.

Each load runs on a timed server that answers at fixed times and logs on its own clock when every request arrived
and every token left. Peers are named by an option, an environment variable, or found on PATH; aiperf, guidellm and
vLLM's client each belong in an environment of their own. The last line of stdout is one line of JSON.

Exit status: 0 = measured (whether or not targets are met: the figures say), 2 = a peer that was named is not there.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from harness.bench import account, ours, tokenizer
from harness.bench.account import Fidelity
from harness.bench.case import Case, cases
from harness.bench.peers import PEERS, Peer, PeerError, find
from harness.bench.truth import TimedServerProcess

OURS = "plumbline"
LIMIT_MS = 2.0
_COLUMNS = {
    "arrival error ms p50": "arrival_error_ms_p50",
    "p99": "arrival_error_ms_p99",
    "max": "arrival_error_ms_max",
    "rate error %": "rate_error",
    "TTFT p50": "ttft_ms_p50",
    "TTFT p99": "ttft_ms_p99",
    "TTFT error p99": "ttft_error_ms_p99",
    "ITL error p99": "itl_error_ms_p99",
    "events/s": "events_per_s",
    "lost": "lost",
}


@dataclass
class Measured:
    """All rounds of one client under one load."""

    rounds: list[Fidelity] = field(default_factory=list)
    extras: list[dict[str, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def median(self, name: str) -> float:
        """Over the rounds; of lost requests the sum, so that none disappears."""
        values = [float(getattr(one, name)) for one in self.rounds]
        return sum(values) if name == "lost" else statistics.median(values)

    def extra(self, name: str) -> float:
        """Median of a figure that only our generator has."""
        return statistics.median(extra[name] for extra in self.extras)

    @property
    def within_limit(self) -> bool:
        """Whether TTFT and ITL are as true as promised, and nothing was lost."""
        worst = max(self.median("ttft_error_ms_p99"), self.median("itl_error_ms_p99"))
        return worst <= LIMIT_MS and not self.median("lost")


Table = dict[str, dict[str, Measured]]  # by case, by client


def measure(case: Case, peer: Peer | None, tokens: Path, parent: Path, into: Measured) -> None:
    """One client (None = ours) once against a fresh timed server."""
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        with TimedServerProcess(case, folder) as server:
            try:
                told = peer.run(case, server.url, tokens, folder) if peer else ours.run(case, server.url, folder)
                into.rounds.append(account.fidelity(case, told, server.close()))
            except (PeerError, ValueError) as error:
                if peer is None:
                    raise
                into.errors.append(str(error))
                return
    if told.extra:
        into.extras.append(told.extra)


def show(case: Case, clients: dict[str, Measured]) -> None:
    """Print one load's table."""
    print(f"\n{case.name}: {case.count} requests at {case.rate:g}/s, {case.num_tokens} tokens each, true TTFT "
          f"{case.ttft_ms:g} ms, ITL {case.itl_ms:g} ms", flush=True)  # fmt: skip
    print(" " * 10 + "".join(f"{title:>{_width(title)}}" for title in _COLUMNS))
    for client, measured in clients.items():
        for error in measured.errors:
            print(f"{client:10}{error}")
        if not measured.rounds:
            continue
        values = {title: measured.median(name) for title, name in _COLUMNS.items()}
        values["rate error %"] *= 100
        cells = [f"{value:>{_width(title)}.{_digits(title)}f}" for title, value in values.items()]
        note = " (ITL: mean of each request)" if measured.rounds[0].itl_is_mean else ""
        print(f"{client:10}{''.join(cells)}{note}")
    mine = clients[OURS]
    saturated = "; says: generator saturated" if mine.extra("says_saturated") else ""
    print(f"{OURS}: sent - scheduled p99 {mine.extra('send_error_ms_p99'):.3f} ms, read lag p99 "
          f"{mine.extra('read_lag_ms_p99'):.3f} ms, {mine.extra('generator_cpus'):.2f} CPUs in "
          f"{mine.extra('num_workers'):.0f} processes{saturated}; the timed server itself was late by p99 "
          f"{mine.median('server_late_ms_p99'):.1f} ms", flush=True)  # fmt: skip


def summary(loads: list[Case], table: Table) -> dict[str, object]:
    """The figures of the last line."""
    mine = {case.name: table[case.name][OURS] for case in loads}
    promised = [one for one in mine.values() if one.median("events_per_s") <= 5000]
    fastest = [case.name for case in loads if case.rate == 200 and case.num_tokens == 16]
    row: dict[str, object] = {
        "ttft_error_ms_p99": max((one.median("ttft_error_ms_p99") for one in promised), default=None),
        "itl_error_ms_p99": max((one.median("itl_error_ms_p99") for one in promised), default=None),
        "max_events_per_s_within_2ms": _max_events(list(mine.values())),
        "lost": sum(one.median("lost") for one in mine.values()),
        "saturation_told": all(one.within_limit or one.extra("says_saturated") for one in mine.values()),
        "cases": {case.name: _figures(table[case.name][OURS]) for case in loads},
        "peers": _peers(loads, table),
        "worse_than_a_peer": worse_than_a_peer(table),
    }
    for name in fastest:
        row |= {"send_error_ms_p99_r200": mine[name].extra("send_error_ms_p99")}
        row |= {"rate_error_r200": mine[name].median("rate_error")}
    return row


def worse_than_a_peer(table: Table) -> list[str]:
    """Every error of ours that is larger than a peer's in the same load, in words."""
    names = ("arrival_error_ms_p99", "ttft_error_ms_p99", "itl_error_ms_p99", "lost")
    return [
        f"{case}: {name} {clients[OURS].median(name):.3f}, {client} {measured.median(name):.3f}"
        for case, clients in table.items()
        for client, measured in clients.items()
        if client != OURS and measured.rounds
        for name in names
        if clients[OURS].median(name) > measured.median(name) and not (name.startswith("itl") and _only_means(measured))
    ]


def _only_means(measured: Measured) -> bool:
    """A mean over 15 or 63 gaps hides errors that single gaps show: the two are not the same figure."""
    return measured.rounds[0].itl_is_mean


def _max_events(measured: list[Measured]) -> float:
    """The highest rate of token events up to which every load was within the limit."""
    best = 0.0
    for one in sorted(measured, key=lambda each: each.median("events_per_s")):
        if not one.within_limit:
            break
        best = one.median("events_per_s")
    return best


def _figures(measured: Measured) -> dict[str, object]:
    row: dict[str, object] = {}
    if measured.rounds:
        row |= {name: round(measured.median(name), 4) for name in asdict(measured.rounds[0])}
    if measured.extras:
        row |= {name: round(measured.extra(name), 4) for name in measured.extras[0]}
    return row | ({"errors": measured.errors} if measured.errors else {})


def _peers(loads: list[Case], table: Table) -> dict[str, dict[str, object]]:
    names = {client: None for case in loads for client in table[case.name] if client != OURS}
    return {
        name: {case.name: _figures(table[case.name][name]) for case in loads if name in table[case.name]}
        for name in names
    }


def _width(title: str) -> int:
    return max(len(title), 6) + 2


def _digits(title: str) -> int:
    return 0 if title in ("events/s", "lost") else 3


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m harness.bench.fidelity", description=(__doc__ or "").split("\n")[0])
    for kind in PEERS:
        what = "Python that has vLLM" if not kind.command else f"{kind.name}'s command"
        made.add_argument(f"--{kind.name}", metavar="PATH", help=f"{what} (default: ${kind.variable}, then PATH)")
    made.add_argument("--rounds", type=int, default=3, help="times each client meets each load; medians are told")
    made.add_argument("--duration-s", type=float, default=8.0, help="seconds of arrivals per load")
    made.add_argument("--only", default="", help="loads whose name contains this, e.g. '200 req' or 'streams'")
    made.add_argument("--dir", type=Path, help="where temporary files go (default: $TMPDIR)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure everything asked for, clients taking turns under each load."""
    options = parser().parse_args(arguments)
    try:
        known = {kind.name: find(kind, getattr(options, kind.name)) for kind in PEERS}
    except PeerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    peers = [peer for peer in known.values() if peer]
    for name in [name for name, peer in known.items() if peer is None]:
        print(f"{name}: not installed, so not measured (--{name} PATH)")
    loads = [case for case in cases(options.duration_s) if options.only in case.name]
    if not loads or options.rounds < 1:
        print(f"error: --only {options.only!r} --rounds {options.rounds}: leave nothing to measure", file=sys.stderr)
        return 2
    table: Table = {}
    with tempfile.TemporaryDirectory(dir=options.dir) as name:
        tokens = tokenizer.write(Path(name) / "tokenizer")
        for case in loads:
            clients = table[case.name] = {OURS: Measured()}
            clients |= {peer.name: Measured() for peer in peers if case.with_peers}
            for _ in range(options.rounds):
                for peer in [None, *(peers if case.with_peers else [])]:
                    measure(case, peer, tokens, Path(name), clients[peer.name if peer else OURS])
            show(case, clients)
    print(orjson.dumps(summary(loads, table)).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
