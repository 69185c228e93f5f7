"""What became of a sweep's variants: one small file in each variant's folder, written by whoever ran it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from harness import whole_file
from harness.run_folder import ATTEMPT, VARIANT

_HYDRA = ".hydra"


@dataclass
class VariantResult:
    """One variant that has ended, well or not."""

    number: int  # of the job, from 0
    overrides: list[str]
    digest: str
    exit_status: int  # as of a single run: 0 = passed
    duration_s: float
    reason: str = ""  # why it ended early; '' if it came to a verdict

    @property
    def complete(self) -> bool:
        """Whether it came to a verdict, good or bad: then it need not be run again."""
        return not self.reason


def write(run_dir: Path, result: VariantResult) -> None:
    """Keep it, whole or not at all."""
    whole_file.write_json(run_dir / VARIANT, asdict(result))


def read(run_dir: Path) -> VariantResult | None:
    """Read it back; None if the variant has not ended, or was killed."""
    try:
        return VariantResult(**orjson.loads((run_dir / VARIANT).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def read_all(sweep_dir: Path) -> dict[Path, VariantResult]:
    """Variants that have ended, by folder, in order of number."""
    found = {path.parent: result for path in sweep_dir.glob(f"*/{VARIANT}") if (result := read(path.parent))}
    return dict(sorted(found.items(), key=lambda item: item[1].number))


def finished_before(run_dir: Path, digest: str) -> VariantResult | None:
    """The result of an earlier attempt at the very same configuration that came to a verdict."""
    result = read(run_dir)
    return result if result is not None and result.complete and result.digest == digest else None


def set_aside(run_dir: Path) -> None:
    """Move what an earlier attempt left into attempt-1, attempt-2, … so that nothing is lost or mixed up."""
    left = [path for path in run_dir.iterdir() if path.name != _HYDRA and not path.name.startswith(ATTEMPT)]
    if not left:
        return
    number = 1 + sum(path.name.startswith(ATTEMPT) for path in run_dir.iterdir())
    aside = run_dir / f"{ATTEMPT}{number}"
    aside.mkdir()
    for path in left:
        path.rename(aside / path.name)
