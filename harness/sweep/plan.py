"""What a sweep is to do, kept in its folder, so that an interrupted one is recognised and goes on where it stopped."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from harness import whole_file
from harness.run_folder import SWEEP

FORMAT = 1


@dataclass
class PlannedVariant:
    """One job: its overrides as typed, and the digest of its whole configuration."""

    overrides: list[str]
    digest: str
    load_s: float = 0.0  # least time of its timed windows, for an estimate before any variant has ended


@dataclass
class SweepPlan:
    """A sweep. `variants` is empty where a sweeper chooses them as it goes."""

    name: str
    variants: list[PlannedVariant]
    source: str  # of the program: commit and whether it was changed; another program gives other results
    ended: str = ""  # "" = under way, or killed; "finished"; "interrupted"
    knobs: list[str] = field(default_factory=list)  # the keys that vary

    @property
    def digests(self) -> list[str]:
        """Of the variants, in order."""
        return [variant.digest for variant in self.variants]


def save(sweep_dir: Path, plan: SweepPlan) -> None:
    """Write sweep.json, whole or not at all."""
    sweep_dir.mkdir(parents=True, exist_ok=True)
    whole_file.write_json(sweep_dir / SWEEP, {"format": FORMAT, **asdict(plan)})


def load(sweep_dir: Path) -> SweepPlan | None:
    """Read it back; None if there is none, or none that can be understood."""
    try:
        fields = orjson.loads((sweep_dir / SWEEP).read_bytes())
        if fields.pop("format") != FORMAT:
            return None
        fields["variants"] = [PlannedVariant(**variant) for variant in fields["variants"]]
        return SweepPlan(**fields)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def unfinished(folder: Path, plan: SweepPlan) -> Path | None:
    """The newest sweep below `folder` with the same variants, by the same program, that did not come to its end."""
    if not plan.variants:
        return None
    newest_first = sorted(folder.glob(f"*/{SWEEP}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first:
        earlier = load(path.parent)
        if earlier is not None and earlier.digests == plan.digests and earlier.source == plan.source:
            return None if earlier.ended == "finished" else path.parent
    return None


def variant_name(overrides: list[str], knobs: list[str]) -> str:
    """A variant by what makes it one, each knob without its group where that is clear: decode=4 block_size=16."""
    values = {key: value for key, _, value in (override.lstrip("+~").partition("=") for override in overrides)}
    short = [knob.rpartition(".")[2] for knob in knobs]
    names = {knob: last if short.count(last) == 1 else knob for knob, last in zip(knobs, short, strict=True)}
    return " ".join(f"{names[knob]}={values[knob]}" for knob in knobs if knob in values)


def swept_keys(all_overrides: list[list[str]]) -> list[str]:
    """The keys whose values differ between variants, in the order they were typed."""
    values: dict[str, set[str]] = {}
    for overrides in all_overrides:
        for override in overrides:
            key, _, value = override.lstrip("+~").partition("=")
            values.setdefault(key, set()).add(value)
    return [key for key, found in values.items() if len(found) > 1]
