"""Ctrl-C while a kernel runs ends the process in order, with nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from simulator.interrupts import interruptible
from simulator.workload import load_dataset

ROOT = Path(__file__).resolve().parents[2]


# Says when its modules are there: how long that takes depends on what else the machine does.
_PROGRAM = "from simulator.cli import main; print('ready', flush=True); raise SystemExit(main())"


@pytest.mark.parametrize("seconds", [0.1, 0.8, 1.5])
def test_interrupt_while_values_are_computed(seconds: float, tmp_path: Path) -> None:
    digits = load_dataset("digits")
    data, out = tmp_path / "long.npz", tmp_path / "out.json"
    np.savez(data, x=np.repeat(digits.x, 40, axis=0), y=np.repeat(digits.y, 40))
    arguments = ["run", "digits", "--device", "fsd", "--data", str(data), "--json", str(out)]
    running = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *arguments], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    time.sleep(seconds)
    running.send_signal(signal.SIGINT)
    shown, errors = running.communicate(timeout=120)
    assert running.returncode == 130
    assert errors.splitlines()[-1] == "npusim: interrupted"
    assert shown == ""
    assert not out.exists()


# As if LLVM's binding were at work for a while, and Ctrl-C came in the middle of it.
_IN_LLVM = """
def work(presses):
    for _ in range(presses):
        signal.raise_signal(signal.SIGINT)
    end = time.monotonic() + 0.1
    while time.monotonic() < end:
        pass
    done.append(True)
"""


@pytest.mark.parametrize(("presses", "finishes"), [(1, True), (2, False)])
def test_llvm_is_let_finish_unless_pressed_again(
    presses: int, finishes: bool, request: pytest.FixtureRequest
) -> None:
    # A shell that starts the tests in the background leaves them a handler that ignores Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    done: list[bool] = []
    names = {"__name__": "llvmlite.binding", "signal": signal, "time": time, "done": done}
    exec(_IN_LLVM, names)

    def work() -> None:
        with interruptible():
            names["work"](presses)
            time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [True] * finishes
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
