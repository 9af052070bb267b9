"""Results as tables and sentences for a terminal."""

from __future__ import annotations

from tabulate import tabulate

from simulator.result import Layer, Result
from simulator.timing.result import CAUSES

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"),
             (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))  # fmt: skip
_NAME_WIDTH = 32


def si_prefix(value: float) -> tuple[float, str] | None:
    """The prefix to write ``value`` with and the factor it stands for; None of what is as good as 0."""
    return next((p for p in _PREFIXES if abs(value) >= p[0] * 0.9995), None)


def quantity(value: float, unit: str) -> str:
    """Three significant digits with an SI prefix: 0.00062, "s" -> "620 µs"."""
    found = si_prefix(value)
    return f"{value / found[0]:.3g} {found[1]}{unit}" if found else f"0 {unit}"


def size(count: int) -> str:
    """Bytes in binary units."""
    for factor, unit in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def short_name(name: str, width: int = _NAME_WIDTH) -> str:
    """A layer's name as a reader knows it: converters join several with semicolons."""
    name = name.split(";")[0]
    return name if len(name) <= width else "…" + name[-(width - 1) :]


def main_cause(layer: Layer) -> str:
    """The cause that takes most of a layer's cycles."""
    cause = max(CAUSES, key=lambda c: layer.cycles_by_cause[c])
    return f"{cause} {100 * layer.cycles_by_cause[cause] / max(layer.cycles, 1):.0f} %"


def layer_table(result: Result, detailed: bool) -> str:
    """One row per layer; ``detailed`` adds cycles by cause, tiles, traffic and overflows."""
    total = result.totals
    rows: list[list[str]] = []
    for layer in result.layers:
        row = [
            short_name(layer.name),
            layer.operator + (" (host)" if layer.note else ""),
            f"{layer.macs:,}",
            f"{layer.cycles:,}",
            f"{100 * layer.cycles / total.cycles:.1f}",
            f"{100 * layer.utilization:.1f}",
            quantity(layer.energy_pj * 1e-12, "J"),
        ]
        if detailed:
            row += [f"{layer.cycles_by_cause[c]:,}" for c in CAUSES]
            overflows = "?" if layer.overflows is None else f"{layer.overflows:,}"
            bits = layer.accumulator_bits or "-"
            row += [
                size(layer.dram_bytes),
                size(layer.scratchpad_bytes),
                overflows,
                bits,
                layer.tile,
            ]
        else:
            row += [main_cause(layer), size(layer.dram_bytes)]
        rows.append(row)
    headers = ["layer", "operator", "MACs", "cycles", "% time", "% util", "energy"]
    if detailed:
        headers += [c.replace("_", " ") for c in CAUSES]
        headers += ["DRAM", "scratchpad", "overflows", "enough bits", "tile"]
    else:
        headers += ["mostly", "DRAM"]
    numbers = ("right",) * (len(headers) - 2)
    align = ("left", "left", *numbers)
    if detailed:
        align = (*align[:-1], "left")
    return tabulate(rows, headers, tablefmt="simple", colalign=align, disable_numparse=True)


def accumulator_table(result: Result) -> str:
    """One row per product on the array: the widths its sums take, and what overflowed."""
    rows, array = [], result.device.array
    for layer in (x for x in result.layers if x.accumulator_bits):
        first = layer.first_overflow
        where = f"sample {first.sample}, {list(first.index)}" if first else "-"
        rows.append([
            short_name(layer.name), layer.accumulator_bits, layer.data_accumulator_bits or "?",
            layer.data_psum_bits or ("?" if array.psum_bits else "-"),
            "?" if layer.overflows is None else f"{layer.overflows:,}", where,
            f"{layer.worst_excess:,}" if layer.overflows else "-",
        ])  # fmt: skip
    headers = [
        "accumulator bits", "by proof", "on data", "psums on data", "overflows", "first", "worst by"
    ]  # fmt: skip
    align = ("left", "right", "right", "right", "right", "left", "right")
    own = f", {array.psum_bits} in a psum" if array.psum_bits else ""
    has = f"the device has {array.accumulator_bits}{own}; they {array.overflow}"
    table = tabulate(rows, headers, tablefmt="simple", colalign=align, disable_numparse=True)
    return f"{table}\n\n{has}"


def summary(result: Result) -> str:
    """Totals, cycles by cause, energy by component and accuracy."""
    t, d, p = result.totals, result.device, result.point
    array = f"{d.array.rows} x {d.array.cols} {d.array.dataflow.replace('_', ' ')}"
    overflows = "not counted (no --data, and not ruled out by the weights)"
    if t.overflows is not None:
        overflows = f"{t.overflows:,}" + ("" if result.accuracy else " (ruled out by the weights)")
    if t.overflows:
        first = next(x for x in result.layers if x.overflows)
        overflows += (
            f" outputs, the first in {short_name(first.name)}; sums left their range by "
            f"{max(x.worst_excess for x in result.layers):,} at most"
        )
    if d.cores > 1:
        array = f"{d.cores} cores, {array}"
    at_once = f" for {t.samples} samples at once" if t.samples > 1 else ""
    at_widths = ""
    if d.array.precision_scaling != "none":
        at_widths = f" at {d.array.ifmap_bits} x {d.array.weight_bits} bits"
    lines = [
        f"device           {d.name}: {array}, {p.clock_mhz:g} MHz, {p.voltage_v:g} V",
        f"latency          {quantity(t.latency_s, 's')} = {t.cycles:,} cycles{at_once}; "
        f"{t.inferences_per_s:,.1f} inferences/s, {t.steady_inferences_per_s:,.1f} without a break",
        f"cycles by cause  {_shares(result.cycles_by_cause, t.cycles)}",
        f"throughput       {t.tops:.4g} of {t.peak_tops:.4g} TOPS peak{at_widths} "
        f"({t.macs:,} MACs, utilization {100 * t.utilization:.1f} %)",
        f"energy           {quantity(t.energy_pj / t.samples * 1e-12, 'J')} per inference "
        f"({ends(t.energy_low_pj, t.energy_high_pj, 1e-12 / t.samples, 'J')}); "
        f"{t.inferences_per_joule:,.1f} inferences/J",
        f"energy by part   {_shares(result.energy_by_component_pj, t.energy_pj)}",
        f"power            {quantity(t.average_power_w, 'W')} average "
        f"({ends(t.energy_low_pj, t.energy_high_pj, 1e-12 / t.latency_s, 'W')}); "
        f"{t.tops_per_watt:.3g} TOPS/W "
        f"({2 * t.macs / t.energy_high_pj:.3g} to {2 * t.macs / t.energy_low_pj:.3g})",
        f"area             {t.area_mm2:.3g} mm² ({t.area_low_mm2:.2g} to {t.area_high_mm2:.2g}) at "
        f"{d.energy.node_nm:g} nm; {t.peak_tops_per_mm2:.3g} TOPS/mm² peak",
        f"traffic          DRAM {size(t.dram_bytes)}, scratchpad {size(t.scratchpad_bytes)}; "
        f"scratchpad peak {size(t.scratchpad_peak_bytes)} of {size(d.scratchpad.capacity_bytes)}",
        f"overflows        {overflows}",
    ]
    if result.timing.cores:
        waited = t.cycles - result.timing.uncontended_cycles
        divided = sum(bool(getattr(c, "split", "")) for c in result.program.commands)
        lines.append(
            f"cores            {divided} of {len(result.layers)} commands divided; "
            f"{100 * waited / t.cycles:.1f} % of the time for each other's DRAM transfers"
        )
    if t.resident_weight_bytes:
        lines.append(
            f"weights          {size(t.resident_weight_bytes)} stay on chip between inferences; the "
            f"first one loads them and takes {t.first_cycles:,} cycles"
        )
    if result.accuracy is not None:
        a = result.accuracy
        lines.append(
            f"accuracy         {100 * a.top1:.2f} % top-1: {a.correct:,} of {a.samples:,} samples of "
            f"{a.dataset} (inputs: {a.inputs})"
        )
    looked = [
        (x.macs, x.zero_share, x.toggle_rate) for x in result.layers if x.zero_share is not None
    ]
    if looked:
        macs = sum(m for m, _, _ in looked)
        zeros = sum(m * z for m, z, _ in looked) / macs
        toggles = sum(m * (r or 0) for m, _, r in looked) / macs
        lines.append(
            f"values           {100 * zeros:.1f} % of MACs have an operand that is 0; "
            f"{100 * toggles:.1f} % of the bits of streaming operands change (random: 50 %)"
        )
    lines += [f"on the host      {x.name}: {x.note}" for x in result.layers if x.note]
    return "\n".join(lines)


def ends(low: float, high: float, factor: float, unit: str) -> str:
    """Both ends of a range in one unit."""
    found = si_prefix(high * factor)
    if found is None:
        return f"0 {unit}"
    scale, prefix = found
    return f"{low * factor / scale:.3g} to {high * factor / scale:.3g} {prefix}{unit}"


def _shares(parts: dict[str, int] | dict[str, float], total: float) -> str:
    """Non-zero parts, largest first, in percent."""
    ordered = sorted(parts.items(), key=lambda kv: -kv[1])
    return ", ".join(
        f"{name.replace('_', ' ')} {100 * value / total:.1f} %" for name, value in ordered if value
    )


def run_report(result: Result, detailed: bool) -> str:
    """What ``npusim run`` prints."""
    return f"{result.model.name}\n\n{layer_table(result, detailed)}\n\n{summary(result)}"
