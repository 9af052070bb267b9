"""Ctrl-C while a kernel runs ends the process in order, with nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from simulator.workload import load_dataset

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("seconds", [1.0, 1.7, 2.4])
def test_interrupt_while_values_are_computed(seconds: float, tmp_path: Path) -> None:
    digits = load_dataset("digits")
    data, out = tmp_path / "long.npz", tmp_path / "out.json"
    np.savez(data, x=np.repeat(digits.x, 40, axis=0), y=np.repeat(digits.y, 40))
    arguments = ["run", "digits", "--device", "fsd", "--data", str(data), "--json", str(out)]
    running = subprocess.Popen(
        [sys.executable, "-m", "simulator.cli", *arguments], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(seconds)
    running.send_signal(signal.SIGINT)
    shown, errors = running.communicate(timeout=120)
    assert running.returncode == 130
    assert errors.splitlines()[-1] == "npusim: interrupted"
    assert shown == ""
    assert not out.exists()
