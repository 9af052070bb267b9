"""A built wheel carries devices, energy tables, the shipped workload and the array in SystemVerilog, and
runs from elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_wheel_runs_outside_the_checkout(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    script = (
        "import simulator, simulator.resources as r; print(simulator.__file__); "
        "print(r.data_folder('hwconfigs')); import simulator.cli as c; "
        "c.main(['devices']); c.main(['compile', 'digits', '--device', 'wear', '--graph'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0].startswith(str(installed))
    assert lines[1].startswith(str(installed))
    assert any(line.startswith("fsd ") for line in lines)
    hardware = {path.name for path in (ROOT / "tests/rtl/src").iterdir()}
    packed = installed / "simulator/_data/tests/rtl/src"
    assert {path.name for path in packed.iterdir()} == hardware > {"core.sv", "harness.cpp"}
    assert 'graph "digits_int8.tflite" profile=tflite' in lines
