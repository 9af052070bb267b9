"""Lists of what there is: devices with units and sources, operators with their rules."""

from __future__ import annotations

from tabulate import tabulate

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


def device_details(device: Device) -> str:
    """Every number of a device with where it comes from."""
    content = device.model_dump()

    def value(key: str) -> object:
        found: object = content
        for part in key.split("."):
            found = found[int(part)] if isinstance(found, list | tuple) else found[part]  # type: ignore[index]
        return found

    rows = []
    for key in numeric_keys(device):
        prefixes = [s for s in device.sources if key == s or key.startswith(s + ".")]
        source = device.sources[max(prefixes, key=len)] if prefixes else None
        status = source.status if source else "-"
        rows.append([key, f"{value(key):g}", status, source.source if source else "-"])
    table = tabulate(
        rows, ["key (unit in its name)", "value", "status", "source"], tablefmt="simple",
        disable_numparse=True, maxcolwidths=[None, None, None, 72],
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
        lines += [
            f"    device:  {(r.__doc__ or '').strip()} (else: host)" for r in described.DEVICE_RULES
        ]
    return "\n".join(lines)
