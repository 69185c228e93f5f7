"""The contest's client: `python -m harness.judge --task 1 -X 0.5 -T 3000 -P 8835 -O out`, with its options and files.

Sends int(T * X) requests at the contest's near-constant gaps and writes `result_<X>_x.json` as the original does
(successes only, in order of completion), plus an account of every request. Exec Time counts from before the first send
to the end of the last request and of the pause after the last send, as the original's does. Unlike the original it
seeds its pauses, does not busy-wait, and loses no request silently.

Exit status: 0 = every request finished; 1 = some did not; 2 = the options or the data are wrong; 3 = the load could not
begin, e.g. nothing listens there; 130 = interrupted, with what was gathered written all the same.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import records, whole_file
from harness.config import ArrivalConfig, ArrivalProcess, ClientProtocol, DatasetConfig, DatasetFormat
from harness.load import arrivals, generator, prompts
from harness.load.arrivals import Schedule
from harness.load.generator import LoadProgress, LoadRun
from harness.load.plan import LoadPlan
from harness.load.prompts import Prompt, PromptSource
from harness.load.protocols import RequestOptions
from harness.measure import metrics, samples
from harness.records import Outcome, RequestRecord

DEFAULT_PORT = 8835
EXIT_OK = 0
EXIT_UNFINISHED = 1
EXIT_BAD_INPUT = 2
EXIT_SERVER = 3
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Task:
    """One of the contest's two tasks."""

    data: str
    num_records: int
    rule: str
    lengths: str = ""  # output tokens of the default data's records, where they ship with the harness


_LENGTHS = Path(__file__).parents[1] / "conf" / "data" / "output_lengths.csv"
TASKS = {
    1: Task("alpaca_5010.json", 1500, "X * T must be 1500 (the speed task)", str(_LENGTHS)),
    2: Task("alpaca_521.json", 500, "X must be 0.1 and T 5000 (the accuracy task)"),
}


def exec_time_s(run: LoadRun, schedule: Schedule) -> float:
    """Before the first send to after the last request and the last pause."""
    ends = [record.ended_ns for record in run.records if record.ended_ns is not None]
    return max(max(ends, default=0) / 1e9, schedule.floor_s)


def results(some: list[Prompt], all_records: list[RequestRecord]) -> list[dict[str, Any]]:
    """The original's result list: res_time and first_token_time in s since the request was sent."""
    finished = [r for r in all_records if r.outcome is Outcome.finished and r.sent_ns is not None]
    rows = []
    for record in sorted(finished, key=lambda r: r.ended_ns or 0):
        assert record.sent_ns is not None and record.ended_ns is not None
        res_time = (record.ended_ns - record.sent_ns) / 1e9
        ttft_ms = samples.ttft_ms(record, since="sent_ns")
        rows.append(
            {
                "input": some[record.index].text,
                "resp_text": record.text,
                "res_time": res_time,
                "first_token_time": res_time if ttft_ms is None else ttft_ms / 1e3,
            }
        )
    return rows


def run(options: argparse.Namespace) -> int:
    """Run a task; returns the exit status. Raises ValueError or LoadError, each one line."""
    task = TASKS[options.task]
    schedule = arrivals.schedule(
        ArrivalConfig(ArrivalProcess.judge, rate=options.X, duration_s=options.T, seed=options.seed)
    )
    _check_rule(options, schedule.count)
    some = PromptSource(_dataset(options, task)).take(schedule.count)
    out: Path = options.O
    out.mkdir(parents=True, exist_ok=True)
    plan = LoadPlan(
        f"http://{options.host}:{options.P}",
        RequestOptions(ClientProtocol.judge, ignore_eos=False),
        some,
        schedule,
        timeout_s=options.timeout_s,
    )
    spool_dir = out / f"spool_{options.X}_x"
    try:
        result = generator.run(plan, spool_dir, _show)
    except generator.LoadError:
        shutil.rmtree(spool_dir)  # nothing was sent, so nothing is lost
        raise
    print(file=sys.stderr)
    name = f"{options.X}_x"
    whole_file.write_text(out / f"result_{name}.json", json.dumps(results(some, result.records), ensure_ascii=False))
    about = {"schedule_hash": schedule.hash, "prompts_hash": prompts.digest(some)}
    records.write(out / f"records_{name}.parquet", result.records, about)
    shutil.rmtree(spool_dir)
    summary = metrics.flat(metrics.summarise(result.records, schedule))
    summary |= about | {"exec_time_s": exec_time_s(result, schedule), "incomplete_reason": result.incomplete_reason}
    whole_file.write_text(out / f"account_{name}.json", json.dumps(summary, indent=2))
    counts = ", ".join(f"{summary[f'requests_{outcome}']} {outcome}" for outcome in Outcome)
    print(f"Requests: {summary['requests_total']} = {counts}")
    if result.incomplete_reason:
        print(f"Ended early: {result.incomplete_reason}")
    print(f"Exec Time: {summary['exec_time_s']:.2f} s (arrivals alone: {schedule.floor_s:.2f} s)")
    if result.incomplete_reason == generator.INTERRUPTED:
        return EXIT_INTERRUPTED
    return EXIT_OK if summary["requests_finished"] == summary["requests_total"] else EXIT_UNFINISHED


def _check_rule(options: argparse.Namespace, count: int) -> None:
    task = TASKS[options.task]
    obeyed = count == task.num_records and (options.task == 1 or (options.X, options.T) == (0.1, 5000))
    if not obeyed and not options.any_size:
        raise ValueError(
            f"-X {options.X} -T {options.T}: gives {count} requests; task {options.task}: {task.rule}; "
            "--any-size lifts the rule"
        )


def _dataset(options: argparse.Namespace, task: Task) -> DatasetConfig:
    path = options.data or task.data
    lengths = options.lengths or ("" if options.data or options.tokenizer else task.lengths)
    if not lengths and not options.tokenizer and not path.endswith(".jsonl"):
        raise ValueError("--tokenizer or --lengths: one is needed to know how many tokens each request asks for")
    if not Path(path).is_file():
        raise ValueError(
            f"--data {path}: no such file; the contest's prompts do not ship with this: give a file (.json as Alpaca, "
            "or .jsonl); where they are to be had: python -m serving.weights.fetch contest-judge"
        )
    return DatasetConfig(
        format=DatasetFormat.jsonl if path.endswith(".jsonl") else DatasetFormat.alpaca,
        path=path,
        lengths_path=lengths,
        lengths_by_index=True,
        tokenizer_path=options.tokenizer,
        max_new_tokens=options.max_new_tokens,
    )


def _show(progress: LoadProgress) -> None:
    print(
        f"\r{progress.elapsed_s:7.1f} s  sent {progress.sent}/{progress.total}  first token {progress.first_token}  "
        f"done {progress.finished}  failed {progress.failed}",
        end="",
        file=sys.stderr,
    )


def parser() -> argparse.ArgumentParser:
    """The contest's options, and a few of ours in long form."""
    made = argparse.ArgumentParser(prog="python -m harness.judge", description=(__doc__ or "").split("\n")[0])
    made.add_argument("--task", type=int, choices=TASKS, default=1, help="1 = speed, 2 = accuracy")
    made.add_argument("-X", type=float, required=True, help="requests per second")
    made.add_argument("-T", type=int, required=True, help="seconds; int(T * X) requests are sent")
    made.add_argument("-P", type=int, default=DEFAULT_PORT, help="port of the server")
    made.add_argument("-O", type=Path, default=Path(), help="folder for the results")
    made.add_argument("--host", default="127.0.0.1")
    made.add_argument("--data", default="", help="prompts (.json as Alpaca, or .jsonl); default: the task's file here")
    made.add_argument("--tokenizer", default="", help="SentencePiece model that counts each record's output tokens")
    lengths_help = "CSV whose output_tokens column gives them instead, row by record (task 1's own data: shipped)"
    made.add_argument("--lengths", default="", help=lengths_help)
    made.add_argument("--max-new-tokens", type=int, default=4096, help="cap on each request's output tokens")
    made.add_argument("--any-size", action="store_true", help="do not insist on the task's number of requests")
    made.add_argument("--seed", type=int, default=0, help="of the pauses")
    made.add_argument("--timeout-s", type=float, default=3600.0, help="per request")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Parse and run; returns the exit status, an error as one line."""
    options = parser().parse_args(arguments)
    try:
        return run(options)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except generator.LoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_SERVER
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
