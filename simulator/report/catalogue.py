"""Lists of what there is: devices with units and sources, operators with their rules."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from simulator.compiler.host import RULES as DEVICE_RULES
from simulator.hwconfig import Device, device_names, load_device, numeric_keys
from simulator.importers.tflite import supported_operators
from simulator.ops import operator, operator_names
from simulator.report.text import size


def device_table() -> str:
    """One row per shipped device."""
    rows = []
    for name in device_names():
        d = load_device(name)
        point = d.operating_point()
        rows.append([
            name, d.title, f"{d.array.rows} x {d.array.cols}", f"{point.clock_mhz:g} MHz",
            f"{d.peak_tops(point):.4g} TOPS", f"{d.array.ifmap_bits} x {d.array.weight_bits} -> "
            f"{d.array.accumulator_bits} bit", size(d.scratchpad.capacity_bytes), d.dram.kind,
            f"{d.energy.node_nm:g} nm",
        ])  # fmt: skip
    headers = ["name", "device", "array", "clock", "peak", "widths", "scratchpad", "DRAM", "node"]
    return tabulate(rows, headers, tablefmt="simple", disable_numparse=True)


def _settings(prefix: str, value: Any) -> list[tuple[str, str]]:
    """(dotted key, value as text) of everything below ``prefix``."""
    if isinstance(value, dict):
        items = [(f"{prefix}.{k}" if prefix else str(k), v) for k, v in value.items()]
        return [pair for key, v in items for pair in _settings(key, v)]
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return [pair for i, v in enumerate(value) for pair in _settings(f"{prefix}.{i}", v)]
    if isinstance(value, list | tuple):
        return [(prefix, ", ".join(str(v) for v in value))]
    return [(prefix, f"{value:g}" if isinstance(value, float) else str(value))]


def device_details(device: Device) -> str:
    """Every setting of a device with where its number comes from; words have no source."""
    shown = device.model_dump(
        exclude={"schema_version", "name", "title", "description", "device_class", "sources"},
        exclude_none=True,
    )
    rows: list[list[str]] = []
    numbers, before = set(numeric_keys(device)), None
    for key, text in _settings("", shown):
        prefixes = [s for s in device.sources if key == s or key.startswith(s + ".")]
        if key not in numbers or not prefixes:
            rows.append([key, text, "-", "-"])
            continue
        source = device.sources[max(prefixes, key=len)]
        same = "as above" if source is before else source.source
        rows.append([key, text, source.status, same])
        before = source
    table = tabulate(
        rows, ["key (unit in its name)", "value", "status", "source"], tablefmt="simple",
        disable_numparse=True, maxcolwidths=[None, 24, None, 72],
    )  # fmt: skip
    return f"{device.name}: {device.title}\n{device.description.strip()}\n\n{table}"


def operator_table() -> str:
    """Every operator, the command it becomes, and its rules."""
    lines = []
    for name in operator_names():
        described = operator(name)
        read = "TFLite" if name.upper() in supported_operators() else "no importer"
        lines.append(f"{name.upper()} ({read}): {described.SUMMARY}")
        lines.append(f"    becomes: {described.COMMAND}")
        lines += [f"    model:   {(r.__doc__ or '').strip()}" for r in described.RULES]
    lines.append("A command runs on the device where it meets all of these, else on the host:")
    lines += [f"    device:  {(r.__doc__ or '').strip()}" for r in DEVICE_RULES]
    return "\n".join(lines)
