"""What the harness needs of the server it measures. launch.py supplies one from the supervisor or for a URL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class ServerError(RuntimeError):
    """The server or one of its tools failed; the message is one line."""


class Server(Protocol):
    """A running server. Captured logits exist only for a server of ours."""

    url: str
    model_name: str
    api_key: str
    vocab_size: int | None  # None = unknown
    captured_dir: Path | None  # where the server writes asked-for logits rows; None = it cannot

    def failure(self) -> str | None:
        """Why the server is gone, in one line, or None while it is well."""
        ...

    def on_death(self, callback: Callable[[], None]) -> None:
        """Call back, from any thread, when the server ends that was not asked to; at once if it has already."""
        ...

    def pids(self) -> dict[str, int]:
        """Process ids by name, for telemetry; empty for an external server."""
        ...

    def about(self) -> dict[str, Any]:
        """What it serves, for manifests: model, hashes, dtype, device, versions; {} for an external server."""
        ...

    def stop(self) -> None:
        """End the server; nothing of it is left afterwards."""
        ...

    def reference(self, captured: Path, out: Path, on_progress: Callable[[str, int, int], None]) -> None:
        """Compute reference rows for every capture by an independent path. Raises ServerError."""
        ...


@dataclass
class ExternalServer:
    """A server that somebody else runs: only its URL is known, and it is left running."""

    url: str
    model_name: str
    api_key: str = ""
    vocab_size: int | None = None
    captured_dir: Path | None = None

    def failure(self) -> str | None:
        """Nobody watches its processes: failures show in the records."""
        return None

    def on_death(self, callback: Callable[[], None]) -> None:
        """Never called."""

    def pids(self) -> dict[str, int]:
        """Unknown."""
        return {}

    def about(self) -> dict[str, Any]:
        """Unknown."""
        return {}

    def stop(self) -> None:
        """Not ours to end."""

    def reference(self, captured: Path, out: Path, on_progress: Callable[[str, int, int], None]) -> None:
        """Raises ServerError: an external server captures no logits."""
        raise ServerError(f"{self.url} is an external server: it captured no logits in {captured} for {out}")
