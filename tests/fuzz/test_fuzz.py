"""Coverage-guided fuzzing of both importers, for a bounded number of inputs; ``make fuzz`` goes on longer.

The harness runs in a process of its own, under a limit of its address space and of the time for one input.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="atheris has wheels for Linux on x86-64 alone")

HARNESS = Path(__file__).with_name("harness.py")
RUNS = {"tflite": 8_000, "onnx": 5_000}
_COVERAGE = re.compile(r"cov: (\d+)")


@pytest.mark.parametrize("suffix", RUNS)
def test_whatever_the_bytes_a_file_is_read_or_refused(suffix: str, tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    flags = [f"-runs={RUNS[suffix]}", "-seed=1", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(
        [sys.executable, str(HARNESS), suffix, str(stats), *flags], capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(stats.read_text())
    assert seen["executed"] > 0.9 * RUNS[suffix]
    assert seen["refused"] > 1000
    assert seen["compiled"] > 100
    covered = [int(found) for found in _COVERAGE.findall(done.stderr)]
    assert covered[-1] > covered[0]
