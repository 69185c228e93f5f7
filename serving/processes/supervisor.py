"""Starts the serving processes, waits until they are ready, notices their death, and leaves nothing behind.

It knows processes and their status lines; it knows nothing of requests, models or measurements.
"""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from serving.config import Fake, HttpConfig, StackConfig
from serving.processes import stack_file
from serving.processes.child import Child, ChildEvent, end
from serving.processes.listen import ListenError, open_socket
from serving.processes.restarter import Restarter

SHM_DIR = Path("/dev/shm")
LINK_TOKEN_VARIABLE = "PLUMBLINE_LINK_TOKEN"
SHM_PREFIX_VARIABLE = "PLUMBLINE_SHM_PREFIX"
_AGENT = "agent-"  # and the index of its device

# (what is happening, steps done, steps in all); 0 in all = unknown
Progress = Callable[[str, int, int], None]


class ServingError(RuntimeError):
    """A serving process failed; the message is one line with the process's own words."""


class Supervisor:
    """The serving stack of one run: front end, one agent per device, and short-lived tools (prepare, reference).

    Use as a context manager: leaving it, by whatever way, ends every process and frees every shared-memory name.
    """

    def __init__(
        self, stack: StackConfig, run_dir: Path, on_restart: Callable[[str], None] = lambda reason: None
    ) -> None:
        """`on_restart` hears why an agent is started again (serving.agent.max_restarts); may come from any thread."""
        self.run_dir = run_dir
        self.url = ""
        self.stack = stack
        self._config_path = stack_file.save(stack, run_dir)
        self._events: queue.SimpleQueue[ChildEvent] = queue.SimpleQueue()
        self._children: list[Child] = []
        self._exit_reason: str | None = None
        self._death_callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._stopping = False
        self._on_restart = on_restart
        self._restarter: Restarter | None = None  # while agents may be started again
        self._link = ""  # where agents dial in
        self._shm_prefix = f"plumbline-{secrets.token_hex(6)}-"
        self._environment = {
            LINK_TOKEN_VARIABLE: secrets.token_hex(16),
            SHM_PREFIX_VARIABLE: self._shm_prefix,
            stack_file.KEY_VARIABLE: stack.serving.http.api_key,
        }

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the running children by name."""
        return {child.name: child.pid for child in self._children if child.running}

    def start(self, on_progress: Progress) -> None:
        """Start front end and agents and return once requests are served.

        Raises ServingError as soon as a process fails, or after `serving.agent.start_timeout_s`.
        """
        self._stopping = False
        check_can_listen(self.stack.serving.http)
        listening = self._spawn("frontend", "serving.frontend", [])
        fields = self._await(listening, "listening", on_progress)
        self.url = f"http://{_authority(self.stack.serving.http.host, int(str(fields['http_port'])))}"
        self._link = f"127.0.0.1:{fields['link_port']}"
        answered_by_frontend = self.stack.serving.fake in (Fake.frontend, Fake.worker)
        for index in range(0 if answered_by_frontend else len(self.stack.serving.agent.device_ids)):
            self._start_agent(f"{_AGENT}{index}")
        self._await(listening, "ready", on_progress)
        # From here on: an agent that cannot even start the first time is a mistake that no retry mends.
        self._restarter = Restarter(self.stack.serving.agent.max_restarts, self._restart_agent)

    def run_tool(self, name: str, module: str, arguments: Sequence[str], on_progress: Progress) -> None:
        """Run a short-lived child to its end. Raises ServingError if it fails."""
        tool = self._spawn(name, module, arguments, is_tool=True)
        fields = self._await(tool, "exit", on_progress)
        if fields["returncode"] != 0:
            raise ServingError(tool.exit_reason())
        self._children.remove(tool)

    def failure(self) -> str | None:
        """Why the stack is no longer whole, or None."""
        return self._exit_reason

    def on_death(self, callback: Callable[[], None]) -> None:
        """Call back when a serving process ends that was not asked to; at once if one has. May come from any thread."""
        with self._lock:
            if self._exit_reason is None:
                self._death_callbacks.append(callback)
                return
        callback()

    def stop(self) -> None:
        """End every process and remove what shared-memory names they left."""
        self._stopping = True
        restarter, self._restarter = self._restarter, None
        if restarter is not None:
            restarter.halt()
        end(self._children)
        self._children.clear()
        if restarter is not None:
            restarter.close()
        for leftover in SHM_DIR.glob(self._shm_prefix + "*"):
            leftover.unlink(missing_ok=True)

    def _spawn(self, name: str, module: str, arguments: Sequence[str], *, is_tool: bool = False) -> Child:
        arguments = ["--config", str(self._config_path), *arguments]
        child = Child(name, module, arguments, self.run_dir / f"{name}.log", is_tool=is_tool)
        self._children.append(child)
        child.start(self._environment, self._receive)
        return child

    def _start_agent(self, name: str) -> None:
        index = name.removeprefix(_AGENT)
        self._spawn(name, "serving.agent", ["--device-index", index, "--link", self._link])

    def _restart_agent(self, name: str) -> None:
        """On the restarter's thread."""
        self._children = [child for child in self._children if child.name != name]
        try:
            self._start_agent(name)
        except OSError as error:
            self._report_death(f"{name} could not be started again: {error}")

    def _receive(self, event: ChildEvent) -> None:
        """On a child's thread: see to an unexpected death at once, or hand the event to whoever awaits."""
        child, restarter = event.child, self._restarter
        if event.phase == "exit" and not self._stopping and not child.is_tool:
            # Agents leave by themselves when the front end has died: those have nobody to come back to.
            is_replaceable = child.name.startswith(_AGENT) and self._exit_reason is None
            if restarter is not None and is_replaceable and restarter.accept(child.name):
                self._on_restart(child.exit_reason())
                return
            self._report_death(child.exit_reason())
        self._events.put(event)

    def _report_death(self, reason: str) -> None:
        with self._lock:
            self._exit_reason = self._exit_reason or reason
            callbacks, self._death_callbacks = self._death_callbacks, []
        for callback in callbacks:
            callback()

    def _await(self, child: Child, phase: str, on_progress: Progress) -> dict[str, object]:
        """Pass progress on until `child` says `phase`. Any serving process that ends meanwhile raises ServingError."""
        for event in self._until(self.stack.serving.agent.start_timeout_s, waiting_for=f"{child.name}: {phase}"):
            if event.child is child and event.phase == phase:
                return event.fields
            if event.phase == "progress":
                done, total = int(str(event.fields.get("done", 0))), int(str(event.fields.get("total", 0)))
                on_progress(str(event.fields.get("message", "")), done, total)
            elif event.phase in {"error", "exit"} and event.child in self._children:
                event.child.wait(3.0)
                raise ServingError(event.child.exit_reason())
        raise AssertionError("unreachable: _until ends by raising")

    def _until(self, timeout_s: float, waiting_for: str) -> Iterator[ChildEvent]:
        while True:
            try:
                yield self._events.get(timeout=timeout_s)
            except queue.Empty:
                raise ServingError(
                    f"no word from the serving processes for {timeout_s:g} s while waiting for {waiting_for} "
                    "(serving.agent.start_timeout_s)"
                ) from None


def check_can_listen(http: HttpConfig) -> None:
    """Raise ServingError if the front end could not listen, now rather than after the wait for the model."""
    try:
        open_socket(http).close()
    except ListenError as error:
        raise ServingError(str(error)) from None


def _authority(host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{reachable}]:{port}" if ":" in reachable else f"{reachable}:{port}"
