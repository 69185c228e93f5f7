"""`python -m serving.frontend --config stack.json`: the HTTP server with the engine in it, until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
from pathlib import Path

import uvloop
from omegaconf.errors import OmegaConfBaseException

from serving.config import Fake, StackConfig
from serving.engine.router import Engine
from serving.frontend.app import App
from serving.frontend.engine_port import EnginePort
from serving.frontend.fake import FrontendFake
from serving.processes import stack_file
from serving.processes.listen import ListenError, open_socket, raise_file_limit
from serving.processes.parent_watch import die_with_parent
from serving.processes.status import fail, report
from serving.tokenizer.of_stack import open_tokenizer
from serving.tokenizer.tokenizer import TokenizerError

SHUTDOWN_S = 1.0  # for answers to end and buffers to drain


def _secret(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        fail(f"{name} is not set: the front end is started by the supervisor, which sets it for all its processes")
    return value


async def _announce_ready(engine: EnginePort) -> None:
    """Tell the supervisor when the first agent can take requests."""
    await engine.wait_ready()
    report("ready")


async def serve(stack: StackConfig) -> None:
    """Listen, report where, and serve until SIGTERM or SIGINT; then end every request and return."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    listener = open_socket(stack.serving.http)
    tokenizer = open_tokenizer(stack)
    engine: EnginePort = Engine(
        stack,
        vocab_size=tokenizer.vocab_size,
        token=_secret("PLUMBLINE_LINK_TOKEN"),
        shm_prefix=_secret("PLUMBLINE_SHM_PREFIX"),
    )
    if stack.serving.fake is Fake.frontend:
        engine = FrontendFake(engine, stack.model.seq_length, tokenizer.vocab_size)
    await engine.start()
    http = App(stack, engine, tokenizer).server()
    server = await loop.create_server(http, sock=listener)
    # What exists by now lives for ever: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    report("listening", http_port=listener.getsockname()[1], link_port=engine.link_port)
    announcing = asyncio.create_task(_announce_ready(engine))
    await stopping.wait()
    announcing.cancel()
    server.close()
    await engine.stop()
    await http.shutdown(SHUTDOWN_S)


def main() -> None:
    """Exit status 0 after a signal, 1 with one line of error."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m serving.frontend", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="stack.json, as the supervisor writes it")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    raise_file_limit()
    try:
        stack = stack_file.load(arguments.config)
    except (OSError, ValueError, OmegaConfBaseException) as error:
        fail(f"--config {arguments.config}: {str(error).splitlines()[0]}")
    try:
        uvloop.run(serve(stack))
    except (ListenError, TokenizerError, OSError) as error:
        fail(str(error))


if __name__ == "__main__":
    main()
