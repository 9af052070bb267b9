"""Lists of what there is: devices with units and sources, operators with their rules."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from simulator.compiler.host import RULES as DEVICE_RULES
from simulator.hwconfig import Device, device_names, load_device, numeric_keys
from simulator.importers.tflite import supported_operators
from simulator.ops import operator, operator_names
from simulator.quantizers import SCALES, quantizer, quantizer_names, range_names
from simulator.quantizers.ranges import range_summary
from simulator.report.text import size


def device_table(markdown: bool = False) -> str:
    """One row per shipped device, by peak."""
    rows = []
    for d in sorted(
        map(load_device, device_names()), key=lambda d: d.peak_tops(d.operating_point())
    ):
        points, first = d.operating_points, d.operating_point()
        array = f"{d.array.rows} x {d.array.cols}"
        said = sum(source.status == "published" for source in d.sources.values())
        rows.append([
            f"`{d.name}`" if markdown else d.name, d.title, d.device_class.split()[0],
            array if d.cores == 1 else f"{d.cores} x ({array})",
            ", ".join(f"{p.clock_mhz:g}" for p in points), f"{d.peak_tops(first):.3g}",
            f"{d.array.ifmap_bits} x {d.array.weight_bits} -> {d.array.accumulator_bits}",
            size(d.scratchpad.capacity_bytes), f"{d.dram.kind}, {d.dram.bandwidth_mb_per_s / 1e3:g} GB/s",
            f"{d.energy.node_nm:g}", f"{said} of {len(d.sources)}",
        ])  # fmt: skip
    headers = [
        "name", "device", "class", "array", "MHz", "peak TOPS", "bits", "scratchpad", "behind the DMA",
        "nm", "published",
    ]  # fmt: skip
    form = "github" if markdown else "simple"
    return tabulate(rows, headers, tablefmt=form, disable_numparse=True)


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


def quantizer_table(markdown: bool = False) -> str:
    """Every quantizer of weights, and every rule for what is clipped."""
    rows = []
    for name in quantizer_names():
        fewest, most = quantizer(name).BITS
        bits = str(fewest) if fewest == most else f"{fewest} to {most}"
        rows.append([name, bits, quantizer(name).SUMMARY])
    form = "github" if markdown else "simple"
    weights = tabulate(rows, ["weights", "bits", ""], tablefmt=form, disable_numparse=True)
    clipped = [[name, range_summary(name)] for name in range_names()]
    limits = tabulate(clipped, ["limits", ""], tablefmt=form, disable_numparse=True)
    scales = [[name, (rule.__doc__ or "").strip()] for name, rule in SCALES.items()]
    allowed = tabulate(scales, ["scale", ""], tablefmt=form, disable_numparse=True)
    return f"{weights}\n\n{limits}\n\n{allowed}"
