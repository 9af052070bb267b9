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


def check_target(target: str | None) -> None:
    """An error now rather than after a long run where ``target`` cannot be written."""
    if target in (None, "-"):
        return
    path = Path(target)
    if path.is_dir():
        raise UsageError(str(path), "is a folder", "the path of a file to write, or -")
    if not path.parent.is_dir():
        raise UsageError(
            str(path), f"cannot be written: there is no folder {str(path.parent)!r}",
            "a file in a folder that exists, or -",
        )  # fmt: skip
    if not os.access(path.parent, os.W_OK):
        raise UsageError(str(path), f"cannot be written: no permission in {str(path.parent)!r}")


def write_json(content: dict[str, Any], target: str) -> None:
    """Write to the file ``target``, whole or not at all; ``-`` is standard output."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    write_text(Path(target), text)


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name, then rename; a device or a pipe is written to directly."""
    path = Path(os.path.realpath(path))  # renaming onto a link would replace the link
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
        else:
            _replace(path, text)
    except OSError as error:
        raise UsageError(str(path), f"cannot be written: {error.strerror}") from None


def _replace(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:  # an interrupt as well must leave nothing behind
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
