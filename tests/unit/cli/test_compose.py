"""Mistakes in overrides become one line with the full key; right ones become typed configurations."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from cli.compose import CONFIG_DIR, ConfigError, compose_config, quoted, spelled_out, variants
from serving.config import Policy


def test_defaults_are_the_laptop_run() -> None:
    config = compose_config([])
    assert config.name == "laptop"
    assert config.model.name == "smollm2-135m-instruct"
    assert config.serving.policy is Policy.prefill_first


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("serving.batch.decod=1", "serving.batch.decod: no such key; did you mean serving.batch.decode?"),
        ("+serving.batch.decod=1", "serving.batch.decod: no such key; did you mean serving.batch.decode?"),
        ("nonsense=1", "nonsense: no such key"),
        ("serving.batch.decode=x", "serving.batch.decode: Value 'x' of type 'str' could not be converted to Integer"),
        (
            "serving.policy=fast",
            "serving.policy: Invalid value 'fast', expected one of [prefill_first, decode_first, balanced, original]",
        ),
        ("serving.batch=3", "serving.batch: Invalid type assigned: int is not a subclass of BatchConfig. value: 3"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_the_full_key(override: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_config([override])
    assert str(caught.value) == line


def test_an_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"^model=nope: no such option; known: .*smollm2_135m"):
        compose_config(["model=nope"])


def test_several_values_without_multirun_say_how() -> None:
    with pytest.raises(ConfigError, match=r"python launch.py -m serving.batch.decode=1,2"):
        variants(["serving.batch.decode=1,2"], multirun=False)


def test_a_multirun_is_the_cross_product() -> None:
    jobs = variants(["serving.batch.decode=1,4", "serving.cache.block_size=16,32", "name=x"], multirun=True)
    assert jobs == [
        ["serving.batch.decode=1", "serving.cache.block_size=16", "name=x"],
        ["serving.batch.decode=1", "serving.cache.block_size=32", "name=x"],
        ["serving.batch.decode=4", "serving.cache.block_size=16", "name=x"],
        ["serving.batch.decode=4", "serving.cache.block_size=32", "name=x"],
    ]


def test_mappings_with_names_of_the_users_own_stay_open() -> None:
    assert compose_config(["+device.environment.GLOG_v=3"]).device.environment == {"GLOG_v": "3"}


GROUPS = ["serving", "model", "device", "workload", "accuracy", "tracking", "experiment"]
OPTIONS = [f"{group}={path.stem}" for group in GROUPS for path in sorted((CONFIG_DIR / group).glob("*.yaml"))]


@pytest.mark.parametrize("override", OPTIONS)
def test_every_option_composes(override: str) -> None:
    compose_config([override])


def test_configuration_stays_small_enough_to_read() -> None:
    assert len(list(Path(CONFIG_DIR).rglob("*.yaml"))) <= 25


def test_short_forms_stand_for_keys() -> None:
    spelled = spelled_out(["-m", "layers=2,4", "model=llama2_7b_random"])
    assert spelled == ["-m", "model.shape.num_layers=2,4", "model=llama2_7b_random"]
    assert compose_config([*spelled[2:], "model.shape.num_layers=4"]).model.shape.num_layers == 4


@pytest.mark.parametrize("path", ["/plain", "/o d,d (1)'s [x]=y", "/ü{a}:b", "/back\\slash"])
def test_any_path_is_the_value_of_an_override(path: str) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"hydra.run.dir={quoted(Path(path))}"])
    assert override.value() == path
