"""Results as JSON under stable names; a change of a name or a unit raises the schema's version."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simulator.files import check_target, write_text
from simulator.hwconfig import Device
from simulator.npu import versions
from simulator.result import ElementExplanation, HardwareCheck, Result, Verification

__all__ = [
    "about", "check_target", "element_equal", "explanation_to_dict", "hardware_to_dict", "result_to_dict",
    "verification_to_dict", "write_json",
]  # fmt: skip

SCHEMA_VERSION = 1  # of npusim run
VERIFY_SCHEMA_VERSION = 2  # of npusim verify


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
        "effects": [effect._asdict() for effect in result.effects],
    }


def about(schema_version: int, model: str, device: Device) -> dict[str, Any]:
    """What the JSON of every study of a model on a device begins with."""
    return {
        "schema_version": schema_version, "versions": versions(), "model": model,
        "device": {"name": device.name, "sha256": device.sha256},
    }  # fmt: skip


def verification_to_dict(verification: Verification) -> dict[str, Any]:
    """Everything ``npusim verify`` says; ``first_difference`` is null where all is equal."""
    content = asdict(verification)
    if verification.first_difference is not None:
        content["first_difference"] |= _numbers(
            ours=verification.first_difference.ours, theirs=verification.first_difference.theirs
        )
    return {"schema_version": VERIFY_SCHEMA_VERSION, "versions": versions(), **content}


def hardware_to_dict(check: HardwareCheck) -> dict[str, Any]:
    """Everything ``npusim verify --against rtl`` says."""
    return {
        "schema_version": VERIFY_SCHEMA_VERSION, "versions": versions(), **asdict(check),
        "equal": check.equal,
    }  # fmt: skip


def explanation_to_dict(explanation: ElementExplanation) -> dict[str, Any]:
    """Everything ``npusim verify --explain`` says; ``equal`` is null where nothing was returned."""
    e = explanation
    content: dict[str, Any] = asdict(e) | _numbers(returned=e.returned)
    for account in (content["ours"], content["other"]):
        if account is None:
            continue
        account |= _numbers(value=account["value"])
        for step in account["steps"]:
            step["numbers"] = _numbers(**step["numbers"])
    return {
        "schema_version": VERIFY_SCHEMA_VERSION, "versions": versions(), **content,
        "equal": element_equal(e),
    }  # fmt: skip


def element_equal(explanation: ElementExplanation) -> bool | None:
    """Whether both sides have the same element; None where the other does not show it."""
    ours, theirs = explanation.ours.value, explanation.returned
    if theirs is None:
        return None
    if math.isnan(ours) or math.isnan(theirs):
        return math.isnan(ours) and math.isnan(theirs)
    return ours == theirs and math.copysign(1, ours) == math.copysign(1, theirs)


def _numbers(**values: float | str | None) -> dict[str, float | str | None]:
    """``values`` for JSON, which knows no infinities and NaNs: those become text."""
    return {
        k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()
    }


def write_json(content: dict[str, Any], target: str, indent: int | None = 2) -> None:
    """Write to the file ``target``, whole or not at all; ``-`` is standard output."""
    text = json.dumps(content, indent=indent, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    write_text(Path(target), text)
