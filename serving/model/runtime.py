"""Sets up MindSpore in this process. Only processes that run a model import it."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

import mindspore as ms
from mindspore.graph import api

from serving.config import DeviceConfig
from serving.weights.errors import ModelError


@cache
def bind(target: str, device_id: int) -> None:
    """Choose the device, once: MindSpore binds a process to one for its life."""
    ms.set_device(target, device_id)


def set_up(device: DeviceConfig, device_id: int, graphs: Path | None) -> None:
    """Graph mode on the configured device. `graphs`: where compiled graphs are looked for and kept."""
    try:
        ms.set_context(mode=ms.GRAPH_MODE)
        bind(device.target, device_id)
        if device.num_threads:
            ms.set_context(runtime_num_threads=device.num_threads)
        if device.max_device_memory:
            ms.set_context(max_device_memory=device.max_device_memory)
        if device.jit_level:
            ms.set_context(jit_config={"jit_level": device.jit_level, **_boost(device)})
    except (ValueError, RuntimeError, TypeError) as error:
        raise ModelError(
            f"device.target={device.target}: MindSpore {ms.__version__} cannot use it ({error})"
        ) from error
    if graphs is not None:
        # MindSpore takes a graph from its cache only for the script that compiled it. Here the folder's name says all
        # that matters (see graph_cache), so agent, bare loop and tests share them: this package stands for the script.
        api.entry_script_path = str(Path(__file__).with_name("__init__.py"))
        ms.set_context(enable_compile_cache=True, compile_cache_path=str(graphs))
    quieten_mindformers()


def _boost(device: DeviceConfig) -> dict[str, str]:
    return {"infer_boost": "on"} if device.infer_boost else {}


def quieten_mindformers() -> None:
    """Warnings only. MindFormers names its logger after a file path, so it is found by how the name begins."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("mindformers"):
            logging.getLogger(name).setLevel(logging.WARNING)
