"""Composes the configuration before Hydra runs a job, so that a mistake costs a second and one readable line.

Hydra's own messages span several lines and, in a multirun, appear only when the faulty job's turn comes. Here every
variant of a sweep is composed first. This module knows Hydra and OmegaConf, not what any key means.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from conf.schema import PlumblineConfig, register

CONFIG_DIR = Path(__file__).parents[1] / "conf"
SHORT_FORMS = {"layers=": "model.shape.num_layers="}
OPEN_KEYS = ("device.environment.", "workload.slos.")  # mappings whose names are the user's own


class ConfigError(ValueError):
    """A mistake in what the user asked for: one line with the full key, the value and what is allowed."""


def spelled_out(arguments: list[str]) -> list[str]:
    """Command-line arguments with short forms replaced by the keys they stand for: `layers=2`."""
    return [
        next(
            (key + argument[len(short) :] for short, key in SHORT_FORMS.items() if argument.startswith(short)), argument
        )
        for argument in arguments
    ]


def quoted(path: Path) -> str:
    """A path as the value of an override, whatever characters are in it."""
    escaped = str(path).replace("'", "\\'")
    return f"'{escaped}'"


def variants(overrides: Sequence[str], multirun: bool) -> list[list[str]]:
    """Each job's overrides: the cross product of sweeps in a multirun, else the overrides themselves."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigError(_one_line(error)) from None
    if not multirun:
        swept = [override.input_line for override in parsed if override.is_sweep_override()]
        if swept:
            raise ConfigError(f"{swept[0]}: several values need a multirun: python launch.py -m {' '.join(overrides)}")
        return [list(overrides)]
    if not engines(overrides).grid:
        return [[override for sweep in parsed for override in _representative(sweep)]]
    # As Hydra's own grid does: what was typed last for a key counts.
    return [list(values) for values in itertools.product(*{o.get_key_element(): _values(o) for o in parsed}.values())]


@dataclass(frozen=True)
class Engines:
    """Which of Hydra's engines a multirun uses."""

    grid: bool  # every combination is known beforehand; else a search chooses them as it goes
    serial: bool  # one variant after the other, in this process
    local: bool  # all on this machine


def engines(overrides: Sequence[str]) -> Engines:
    """The launcher and the sweeper that these overrides choose. Raises ConfigError."""
    register()
    own = [override for override in overrides if override.startswith("hydra")]
    try:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            chosen = compose("config", overrides=own, return_hydra_config=True).hydra
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error)) from None
    return engines_of(chosen)


def engines_of(hydra: Any) -> Engines:
    """The same of Hydra's own configuration."""
    launcher, sweeper = str(hydra.launcher._target_), str(hydra.sweeper._target_)
    serial = launcher.endswith("BasicLauncher")
    return Engines(sweeper.endswith("BasicSweeper"), serial, serial or launcher.endswith("LocalLauncher"))


def varied_keys(overrides: Sequence[str]) -> list[str]:
    """The keys that a sweep varies, in the order typed."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return [override.get_key_element() for override in parsed if override.is_sweep_override()]


@dataclass(frozen=True)
class Composed:
    """The configuration of one run or of one variant of a sweep."""

    overrides: list[str]
    composed: DictConfig  # as Hydra made it: what config.yaml keeps
    config: PlumblineConfig


def compose_job(overrides: Sequence[str]) -> Composed:
    """Compose one job. Raises ConfigError."""
    register()
    try:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            composed = compose("config", overrides=list(overrides))
            return Composed(list(overrides), composed, to_dataclasses(composed))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error)) from None


def compose_config(overrides: Sequence[str]) -> PlumblineConfig:
    """The typed configuration alone. Raises ConfigError."""
    return compose_job(overrides).config


def run_dir_of(overrides: Sequence[str]) -> Path | None:
    """The folder that `hydra.run.dir=` asks for, if it was typed."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    typed = [override.value() for override in parsed if override.key_or_group == "hydra.run.dir"]
    return Path(str(typed[-1])) if typed else None


def to_dataclasses(composed: DictConfig) -> PlumblineConfig:
    """Hydra's result as plain dataclasses. Raises ConfigError for a key smuggled in with `+`, which nothing reads."""
    unknown = sorted(set(_keys(composed)) - set(_known_keys()))
    unread = [key for key in unknown if not key.startswith(OPEN_KEYS)]
    if unread:
        raise ConfigError(_no_such_key(unread[0]))
    config = OmegaConf.to_object(composed)
    assert isinstance(config, PlumblineConfig)
    return config


def _values(override: Override) -> list[str]:
    """One override for each value that a grid gives it."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if not override.is_discrete_sweep():
        raise ConfigError(f"{override.input_line}: an interval needs a search: hydra/sweeper=search")
    key = override.get_key_element()
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _representative(override: Override) -> list[str]:
    """One value of what a search will vary, to check the rest with."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if override.is_interval_sweep():
        sweep = override.value()
        assert isinstance(sweep, IntervalSweep)
        return [f"{override.get_key_element()}={sweep.start}"]
    return [f"{override.get_key_element()}={next(override.sweep_string_iterator())}"]


def _explain(error: Exception) -> str:
    """One line with the full key; suggests the nearest existing key or option for a misspelt one."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={option}: no such option; known: {', '.join(error.options)}"
    cause = error.__cause__ or error
    line = _one_line(cause if isinstance(cause, OmegaConfBaseException) else error)
    key = _full_key(error)
    if "is not in struct" in line or "not in '" in line:
        return _no_such_key(key)
    return f"{key}: {line}" if key and key not in line else line


def _no_such_key(key: str) -> str:
    known = list(_known_keys())
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6) or [name for name in known if name.endswith(key)]
    return f"{key}: no such key" + (f"; did you mean {near[0]}?" if near else "")


def _full_key(error: BaseException) -> str:
    for candidate in (error.__cause__, error):
        key = getattr(candidate, "full_key", None)
        if key:
            return str(key)
    return ""


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith(("full_key:", "object_type=", "reference_type="))]
    return " ".join(kept)


def _known_keys() -> Iterator[str]:
    return _keys(OmegaConf.structured(PlumblineConfig))


def _keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for name in map(str, node):
        yield prefix + name
        if isinstance(node[name], DictConfig):
            yield from _keys(node[name], f"{prefix}{name}.")
