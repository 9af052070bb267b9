"""Runs a fuzzing process on an importer and says what it found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fuzz.corpus import MOST_BYTES, write_corpus

_ROOT = Path(__file__).resolve().parents[2]
_TESTS = _ROOT / "tests"
# For one input; after that libFuzzer ends the process, where the process itself has not left it.
_MOST_SECONDS = 600


def environment() -> dict[str, str]:
    """In which the modules of this folder run as processes of their own, the same each time."""
    path = os.pathsep.join([str(_ROOT), str(_TESTS)])
    return {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}


@dataclass(frozen=True)
class Session:
    """What one process did.

    ``inputs``: how many were tried; ``coverage``: branches reached by the corpus alone and in the end;
    ``outcomes``: how many inputs ended in what; ``findings``: place in the code -> file kept and traceback;
    ``exit_code`` is not 0 where the process crashed or hung, and then ``log`` ends in the reason.
    """

    inputs: int
    coverage: tuple[int, int]
    outcomes: dict[str, int]
    findings: dict[str, str]
    exit_code: int
    log: str


def fuzz(
    kind: str, folder: Path, *, seed: int = 1, runs: int = -1, seconds: int = 0, real: bool = False
) -> Session:
    """Fuzz the importer of ``kind`` (tflite, onnx) for ``runs`` inputs or ``seconds``, in ``folder``.

    The corpus is kept there and grows; findings are written there. The same seed and number of runs try the
    same inputs.
    """
    corpus, report = folder / "corpus", folder / "report.json"
    write_corpus(kind, corpus, real)
    options = [
        f"-seed={seed}", f"-runs={runs}", f"-max_total_time={seconds}", f"-max_len={2 * MOST_BYTES}",
        f"-timeout={_MOST_SECONDS}", "-rss_limit_mb=0", "-print_final_stats=1", "-len_control=0",
        f"-artifact_prefix={folder}/", str(corpus),
    ]  # fmt: skip
    command = [sys.executable, "-m", "fuzz.child", kind, str(report), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, env=environment()
    )
    log = done.stdout + done.stderr
    told = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    first = re.search(r"^#\d+\s+INITED cov: (\d+)", log, re.MULTILINE)
    later = re.findall(r"^#\d+\s+\w+\s+cov: (\d+)", log, re.MULTILINE)
    counted = re.search(r"number_of_executed_units: (\d+)", log)
    return Session(
        int(counted[1]) if counted else 0,
        (int(first[1]) if first else 0, int(later[-1]) if later else 0),
        told.get("outcomes", {}), told.get("findings", {}), done.returncode, log[-4000:],
    )  # fmt: skip
