"""Serve without measuring: start the stack, print its address, keep it running until Ctrl-C or SIGTERM.

    python serve.py                                      the default model on port 8835, the contest judge's
    python serve.py model=arithmetic serving.http.port=0 any configuration that launch.py takes

Common: model, device (NAME of a group), serving.http.host, serving.http.port, serving.batch.decode, serving.policy,
serving.cache.num_blocks, serving.cache.block_size, outputs_dir. An API key: PLUMBLINE_API_KEY.

An agent that dies is started again (serving.agent.max_restarts). Exit status: 0 = asked to end; 2 = the configuration
is wrong; 3 = a process failed to start, or died for good.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from cli.serve import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.chdir(Path(__file__).parent)
    sys.exit(main(sys.argv[1:], __doc__))
