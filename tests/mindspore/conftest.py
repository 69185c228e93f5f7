"""A tiny Llama with random weights, served by MindSpore inside the test's own process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.config import ModelConfig, StackConfig, WeightSource
from serving.weights.served_folder import announce

SEQ_LENGTH = 64
BLOCK_SIZE = 4


@pytest.fixture(scope="session", autouse=True)
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """MindSpore and MindFormers litter the folder they are imported in."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("mindspore"))
    yield
    os.chdir(before)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> StackConfig:
    """Two layers, GQA, small blocks."""
    from serving.weights.prepare import prepare

    folder = tmp_path_factory.mktemp("run")
    stack = StackConfig(run_dir=str(folder), cache_dir=str(folder / "cache"))
    stack.model = ModelConfig(name="llama-random", source=WeightSource.random, seq_length=SEQ_LENGTH)
    stack.serving.batch.decode = 4
    stack.serving.cache.block_size = BLOCK_SIZE
    stack.serving.cache.num_blocks = 65
    stack.device.compile_cache = False
    announce(stack, prepare(stack, lambda message, done, total: None))
    return stack


@pytest.fixture(scope="session")
def model(stack: StackConfig, own_folder: None) -> Any:
    """The served model, warm."""
    from serving.model.llama import load

    served = load(stack, 0, lambda message, done, total: None)
    served.warm()
    return served


@pytest.fixture(scope="session")
def plain(stack: StackConfig, own_folder: None) -> Any:
    """The independent path, for sequences of up to SEQ_LENGTH tokens."""
    from serving.model.plain import PlainLlama

    return PlainLlama(stack, SEQ_LENGTH, lambda message, done, total: None)
