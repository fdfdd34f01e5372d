"""Signals that end a command, while it starts and while it works.

During the imports of Python and torch nothing is written yet, and an exception could leave a module
incomplete. So a signal ends the process at once. While a stage works, a signal raises an exception,
so every stage cleans up. A signal that the caller ignores (``nohup``, a background job) stays
ignored.
"""

import os
import signal
from types import FrameType

from snnconv.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def at_start() -> None:
    """Let a signal end the process at once, until :func:`at_work`."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


def at_work() -> None:
    """Turn a signal that ends the process into :class:`~snnconv.errors.Interrupted`."""
    for number in SIGNALS:
        if signal.getsignal(number) is _leave:
            signal.signal(number, _interrupt)


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, f"interrupted by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)


def _interrupt(number: int, frame: FrameType | None) -> None:
    for other in SIGNALS:  # a user who asks twice does not want to wait
        if signal.getsignal(other) is _interrupt:
            signal.signal(other, _leave)
    raise Interrupted(number)
