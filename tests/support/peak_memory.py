"""Run as a script: load each given file into a network of its own and print the most memory that took.

    peak_memory.py CONFIG_JSON [KIND=DTYPE=PATH …]

Prints JSON, kind -> bytes: the peak is the growth of the process's resident memory over what
it was before the network was made. Linux counts the peak and lets a process start the count anew.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))


def status_bytes(key: str) -> int:
    """A field of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))


def peak_of(work: Callable[[], object]) -> int:
    """Bytes by which the resident memory grew at most while `work` ran, in a process of its own.

    Forked, so that memory kept back from what ran before cannot hide growth, and the imports are paid for once.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writing, str(growth(work)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return int(text)


def growth(work: Callable[[], object]) -> int:
    import mindspore as ms

    ms.set_context(mode=ms.GRAPH_MODE)
    ms.ops.matmul(ms.Tensor([[1.0]]), ms.Tensor([[1.0]])).asnumpy()  # MindSpore's own memory is not the loader's
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = status_bytes("VmRSS")
    kept = work()
    peak = status_bytes("VmHWM")
    del kept
    return peak - before


def main(config_path: str, sources: list[str]) -> None:
    from serving.model.load_weights import load_weights
    from serving.model.network import plain_network
    from serving.weights.gguf_folder import from_gguf
    from serving.weights.pointer import open_files
    from serving.weights.served_folder import shape_of

    config = json.loads(Path(config_path).read_text())
    shape = shape_of(config)

    def load(path: Path, dtype: str) -> object:
        network = plain_network(config, 16, dtype)
        load_weights(network, open_files(path, shape))
        return network

    result = {}
    for source in sources:
        kind, dtype, name = source.split("=")
        path = Path(name)
        if path.suffix == ".gguf":
            cache = path.parent / "cache"
            arguments = (path, "peak", cache, lambda *_: None, path.name, "as in the file", False)
            result[f"{kind} conversion"] = peak_of(lambda found=arguments: from_gguf(*found))
            path = next((cache / "models").glob("peak-*"))
        result[kind] = peak_of(lambda found=path, kept=dtype: load(found, kept))
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
