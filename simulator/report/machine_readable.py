"""Results as JSON under stable names; a change of a name or a unit raises ``SCHEMA_VERSION``."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simulator.errors import UsageError
from simulator.npu import versions
from simulator.result import Result, Verification

SCHEMA_VERSION = 1


def result_to_dict(result: Result) -> dict[str, Any]:
    """Everything ``npusim run`` says. Units are in the names; ``accuracy`` is null without data."""
    accuracy = None
    if result.accuracy is not None:
        a = result.accuracy
        accuracy = {
            "dataset": a.dataset, "inputs": a.inputs, "samples": a.samples, "correct": a.correct,
            "top1": a.top1,
        }  # fmt: skip
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": versions(),
        "model": {"name": result.model.name, "sha256": result.model.sha256},
        "device": {"name": result.device.name, "sha256": result.device.sha256},
        "operating_point": result.point.model_dump(),
        "totals": asdict(result.totals),
        "cycles_by_cause": result.cycles_by_cause,
        "energy_by_component_pj": result.energy_by_component_pj,
        "layers": [asdict(layer) for layer in result.layers],
        "accuracy": accuracy,
    }


def verification_to_dict(verification: Verification) -> dict[str, Any]:
    """Everything ``npusim verify`` says; ``first_difference`` is null where all is equal."""
    return {"schema_version": SCHEMA_VERSION, "versions": versions(), **asdict(verification)}


def write_json(content: dict[str, Any], target: str) -> None:
    """Write to the file ``target``, whole or not at all; ``-`` is standard output."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    write_text(Path(target), text)


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name, then rename."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise UsageError(str(path), f"cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise UsageError(str(path), f"cannot be written: {error.strerror}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
