"""Ctrl-C ends a command in order, whatever is being done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN_S = 0.02


def _in_llvm(frame: FrameType | None) -> bool:
    """Whether LLVM's binding is at work: between handing an object over and noting that it did, it would
    be left with an owner too many, and the process would crash when both dispose of it."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("llvmlite."):
            return True
        frame = frame.f_back
    return False


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C ends in KeyboardInterrupt: as soon as LLVM's binding has returned, at once if pressed again.

    Raised while numba compiles, it can come out as an error of numba's own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = 0

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed == 1 and _in_llvm(frame) and hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, look_again)
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S, _AGAIN_S)
            return
        raise KeyboardInterrupt

    def look_again(number: int, frame: FrameType | None) -> None:
        if not _in_llvm(frame):
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, press)
    try:
        yield
    except Exception:
        if pressed:
            raise KeyboardInterrupt from None
        raise
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, before)
