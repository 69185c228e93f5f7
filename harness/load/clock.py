"""One monotonic clock for the load generator: a timer on it, and the kernel's receive times brought onto it.

Bytes are timed when they reach the host (SO_TIMESTAMPNS), not when this process gets to read them, so a busy client or
a busy machine does not lengthen the latencies it reports. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time

_TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1
_NS = 1_000_000_000
_libc = ctypes.CDLL(None, use_errno=True)

SO_TIMESTAMPNS = 35
ANCILLARY_BYTES = 64
_timespec = struct.Struct("qq")
_itimerspec = struct.Struct("qqqq")


class Timer:
    """A timerfd: becomes readable at an absolute time on CLOCK_MONOTONIC, to the resolution of the kernel's hrtimers.

    (A timeout given to epoll would be rounded up to whole milliseconds.)
    """

    def __init__(self) -> None:
        self._fd = _libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._armed_ns = 0

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return int(self._fd)

    def set(self, deadline_ns: int) -> None:
        """Fire at this monotonic time; one in the past fires at once."""
        if deadline_ns == self._armed_ns:
            return
        self._armed_ns = deadline_ns
        value = _itimerspec.pack(0, 0, *divmod(max(1, deadline_ns), _NS))
        if _libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, value, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def clear(self) -> None:
        """Take note that it fired."""
        self._armed_ns = 0
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # set anew since it fired

    def close(self) -> None:
        """Release the descriptor."""
        os.close(self._fd)


class ReceiveClock:
    """Converts the kernel's receive times (CLOCK_REALTIME) to CLOCK_MONOTONIC.

    Both clocks are slewed alike, so their difference only moves when somebody sets the time: `refresh` now and then.
    """

    def __init__(self) -> None:
        self._offset_ns = 0
        self.refresh()

    def refresh(self) -> None:
        """Measure realtime - monotonic: the tightest of five readings, so that a preemption in between does no harm."""
        best: tuple[int, int] | None = None
        for _ in range(5):
            before = time.monotonic_ns()
            real = time.time_ns()
            after = time.monotonic_ns()
            if best is None or after - before < best[0]:
                best = (after - before, real - (before + after) // 2)
        assert best is not None
        self._offset_ns = best[1]

    def received_ns(self, ancillary: list[tuple[int, int, bytes]], not_before_ns: int, now_ns: int) -> int:
        """Monotonic arrival time from recvmsg's ancillary data; `now_ns` if the kernel gave none that can be true."""
        for _, kind, data in ancillary:
            if kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = _timespec.unpack(data)
                received: int = seconds * _NS + nanoseconds - self._offset_ns
                if not_before_ns <= received <= now_ns:
                    return received
        return now_ns
