"""The acceptance run: examine the machine, let the run happen, pack everything into one file to send back.

Like launch.py it knows both sides: the serving room's doctor and the harness's archive.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from conf.schema import PlumblineConfig
from harness import run_folder, whole_file
from harness.acceptance import archive, summary
from harness.run.info import RunInfo
from serving.config import StackConfig
from serving.doctor.examine import examine

ROOT = Path(__file__).parents[1]


def problems(config: PlumblineConfig) -> list[str]:
    """One line if this cannot be an acceptance run."""
    if config.acceptance.enabled and config.serving.external:
        return ["acceptance.enabled=true: must be false with serving.external=true, whose machine cannot be examined"]
    return []


@contextlib.contextmanager
def packed(config: PlumblineConfig, stack: StackConfig, info: RunInfo, console: Console) -> Iterator[None]:
    """If `acceptance.enabled`: the doctor's report before, one zip after the block, however it ended."""
    if not config.acceptance.enabled:
        yield
        return
    report = examine(stack, Path(config.outputs_dir))
    whole_file.write_json(info.run_dir / run_folder.DOCTOR, report.as_json())
    console.print(report.text(), markup=False, soft_wrap=True)
    if not report.passed:
        # Its checks of NPUs were never tried on one: what it says must not be what keeps a run from being tried.
        console.print("going on all the same: the run itself decides", soft_wrap=True)
    try:
        yield
    finally:
        _pack(config, info, console)


def _pack(config: PlumblineConfig, info: RunInfo, console: Console) -> None:
    """Write <run>/<name>.zip; what cannot be packed is still in the folder."""
    path = info.run_dir / f"{info.name}.zip"
    # Whoever gets the file is to get no key and no password with it.
    secrets = [secret for secret in (config.serving.http.api_key,) if secret]
    secrets += [config.tracking.uri] if "@" in config.tracking.uri else []
    try:
        found = summary.summarise(info.run_dir, info.name, config.device.target, info.params, ROOT)
        archive.write(info.run_dir, path, found, secrets)
    except (OSError, ValueError) as error:
        console.print(f"error: {path} could not be written ({error}); {info.run_dir} holds everything", markup=False)
        return
    console.print(f"note: {found['note']}", markup=False, soft_wrap=True)
    console.print(f"send back: {path} ({path.stat().st_size / 1e6:.2f} MB)", markup=False, soft_wrap=True)
