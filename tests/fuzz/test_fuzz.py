"""Whatever a model file holds, reading it ends in a graph or our error, in time and within the memory
bound.

``NPUSIM_FUZZ_RUNS`` tries more inputs than the few hundred of every test run; ``make fuzz`` goes by the
clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from fuzz.bombs import BOMBS
from fuzz.session import environment, fuzz

RUNS = int(os.environ.get("NPUSIM_FUZZ_RUNS", "500"))


def _changed_files(kind: str, folder: Path) -> None:
    session = fuzz(kind, folder, runs=RUNS)
    assert session.exit_code == 0, session.log
    assert not session.findings, "\n".join(session.findings.values())
    assert session.inputs >= RUNS
    assert sum(session.outcomes.values()) >= RUNS
    first, last = session.coverage
    assert last > first > 500
    assert session.outcomes["run"] > 50
    assert session.outcomes["refused"] > 100


if find_spec("atheris") is not None:  # it has wheels for Linux on x86-64 alone

    @pytest.mark.parametrize("kind", ["tflite", "onnx"])
    def test_changed_files(kind: str, tmp_path: Path) -> None:
        _changed_files(kind, tmp_path)


@pytest.fixture(scope="module")
def endings() -> dict[str, str]:
    """How reading each of the files that ask for much ended."""
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.bombs"], capture_output=True, text=True, check=True,
        env=environment(),
    )  # fmt: skip
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        found |= json.loads(line)
    return found


@pytest.mark.parametrize("name", list(BOMBS))
def test_small_files_that_ask_for_much(endings: dict[str, str], name: str) -> None:
    assert endings[name].startswith(("bomb: ", "s0: ")), endings[name]
