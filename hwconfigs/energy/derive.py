"""Write the energy tables of the nodes that follow from 45nm.toml: ``python hwconfigs/energy/derive.py``.

Arithmetic, registers, SRAM and instructions follow the energy of ``scaling.toml`` (Stillmaker and Baas),
wires and the clock's the square of the voltage, logic's area that publication's, SRAM's area the cells that
foundries published, leakage the law of ``scaling.toml``. Between published nodes the range grows by half of
the way to each neighbour; beyond the last one, from nothing gained to twice as much. A test holds the files
to this.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from simulator.energy.scaling import (
    area_factor,
    energy_factor,
    gate_leakage_factor,
    leakage_factor,
    load_scaling,
    nominal_supply,
    wire_factor,
)
from simulator.energy.table import EnergyTable, Quantity, load_energy_table, quantities

BASE = "45nm"
NODES = (65.0, 28.0, 22.0, 16.0, 14.0, 12.0, 7.0, 5.0)
HERE = Path(__file__).parent
_SAME = (
    "scratchpad.write_over_read", "leakage.retention_share", "leakage.low_power_share", "area.overhead",
    "cost.defects_per_cm2",
)  # fmt: skip

# Cells of high-density SRAM, um2: TSMC at IEDM and ISSCC, WikiChip, at second hand.
CELLS = {16.0: 0.074, 7.0: 0.027, 5.0: 0.021}
_CELLS = "Cells of 0.074 um2 at 16 nm, 0.027 at 7 and 0.021 at 5 (TSMC at IEDM and ISSCC, at second hand)"
_CSET = "CSET, AI Chips: What They Are and Why They Matter, 2020, a model, as quoted in the press"
_PRICES = "an industry source quoted by Digitimes, 2022"


class Known(NamedTuple):
    """A number of one node that does not follow from the base."""

    value: float
    low: float
    high: float
    status: str
    source: str


_QUARTER = "Range: a quarter either way, estimated."

WAFERS = {
    65.0: Known(
        1900, 1500, 2600, "estimated",
        f"Between 1650 at 90 nm ({_CSET}) and 2600 at 40 nm ({_PRICES}), nearer the former.",
    ),
    28.0: Known(3000, 2300, 3600, "published", f"About 3000 when new, 2011: {_PRICES}. {_QUARTER}"),
    22.0: Known(
        3300, 2500, 4000, "estimated",
        f"Between 3000 at 28 nm ({_PRICES}) and 3984 at 16 nm ({_CSET}).",
    ),
    16.0: Known(3984, 3000, 5000, "published", f"{_CSET}. {_QUARTER}"),
    14.0: Known(3984, 3000, 5000, "estimated", f"As 16 nm: {_CSET}. {_QUARTER}"),
    12.0: Known(3984, 3000, 5000, "published", f"{_CSET}: one price for 16 and 12 nm. {_QUARTER}"),
    7.0: Known(
        9346, 7500, 10000, "published",
        f"{_CSET}; nearly 10000 when new, 2018: {_PRICES}. Low: a fifth less, estimated.",
    ),
    5.0: Known(
        16988, 13500, 17000, "published",
        f"{_CSET}; above 16000 when new, 2020: {_PRICES}. Low: a fifth less, estimated.",
    ),
}  # fmt: skip


class Scaled(NamedTuple):
    """Factors from the base, the one taken and the ends of its range, and how they came about."""

    value: float
    low: float
    high: float
    how: str


def _neighbours(node: float) -> tuple[float, float] | None:
    """The published nodes around ``node``, None where it is one."""
    sizes = [n.node_nm for n in load_scaling().nodes]
    if node in sizes:
        return None
    larger = min((s for s in sizes if s > node), default=sizes[0])
    smaller = max((s for s in sizes if s < node), default=node)
    return larger, smaller


def _spread(node: float, factor: Any, how: str) -> Scaled:
    """``factor`` of a node, with the range that interpolating or continuing leaves."""
    value, around = factor(node), _neighbours(node)
    if around is None:
        return Scaled(value, value, value, how)
    larger, smaller = around
    if smaller == node:
        gain = value / factor(larger)
        how = f"{how}, continued from {larger:g} nm as a line on log-log paper"
        return Scaled(value, value * min(gain, 1 / gain), factor(larger), how)
    how = f"{how}, between {larger:g} and {smaller:g} nm on a line on log-log paper"
    low, high = (math.sqrt(value * factor(node)) for node in (smaller, larger))
    return Scaled(value, low, high, how)


def _cell_area(node: float) -> float:
    """Area of an SRAM cell, published or on the line through the nearest two that are."""
    if node in CELLS:
        return CELLS[node]
    big, small = (16.0, 7.0) if node > 7 else (7.0, 5.0)
    slope = math.log(CELLS[big] / CELLS[small]) / math.log(big / small)
    return CELLS[big] * (node / big) ** slope


def _scaled(key: str, node: float, volts: float, base: EnergyTable) -> Scaled:
    b, v = base.node_nm, base.voltage_v
    if key in _SAME:
        return Scaled(1, 1, 1, "not scaled")
    if key.startswith(("wire.", "clock.")):
        factor = wire_factor(volts, v)
        return Scaled(factor, factor, factor, "times voltage squared, the same at every node")
    if key == "area.sram_um2_per_bit":
        factor = _cell_area(node) / _cell_area(b)
        how = "with the area of its cell" + (
            "" if node in CELLS else ", on the line through those published"
        )
        return Scaled(factor, factor, factor, f"{how}. {_CELLS}")
    if key.startswith("area."):
        return _spread(node, lambda n: area_factor(n, b), "area, Stillmaker and Baas 2017")
    if key.startswith("leakage."):
        at_volts = leakage_factor(volts, v) * gate_leakage_factor(node, b)
        how = "leakage of a gate by the law of scaling.toml, times voltage squared"
        if "mm2" not in key:
            return Scaled(at_volts, at_volts, at_volts, how)
        return _spread(
            node, lambda n: at_volts / area_factor(n, b), f"{how}, over the area of the gate"
        )
    return _spread(
        node, lambda n: energy_factor(n, volts, b, v), "energy, Stillmaker and Baas 2017"
    )


def _entry(
    key: str, quantity: Quantity[Any], node: float, volts: float, base: EnergyTable
) -> Known:
    if key == "cost.wafer_usd":
        return WAFERS[node]
    factor = _scaled(key, node, volts, base)
    ends = sorted((factor.low, factor.high))
    if key in _SAME:
        return Known(
            quantity.value,
            quantity.low,
            quantity.high,
            quantity.status,
            f"As at 45 nm: {_text(quantity)}",
        )
    guessed = quantity.status == "estimated" or _neighbours(node) is not None or "leakage" in key
    cells = key == "area.sram_um2_per_bit"
    return Known(
        quantity.value * factor.value, quantity.low * ends[0], quantity.high * ends[1],
        "estimated" if guessed or cells else "derived",
        f"{BASE}.toml (its source there) x {factor.value:.4g}: {factor.how}.",
    )  # fmt: skip


def _text(quantity: Quantity[Any]) -> str:
    return " ".join(quantity.source.split())


def _wrapped(text: str, width: int = 100) -> str:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return " \\\n".join([*lines, line])


def _number(value: float) -> str:
    rounded = float(f"{value:.4g}")
    return str(int(rounded)) if rounded == int(rounded) else repr(rounded)


def derived(node: float) -> str:
    """The text of one node's table."""
    base = load_energy_table(HERE / f"{BASE}.toml")
    volts = round(nominal_supply(node), 2)
    process = "bulk" if node >= 65 else "HK-HP" if node >= 32 else "MG-HP"
    where = _neighbours(node)
    kind = (
        "a node of scaling.toml"
        if where is None
        else "no node of scaling.toml: interpolated, or continued"
    )
    parts = [
        f"# Energies and areas at {node:g} nm and {volts:g} V, {kind}.\n"
        f"# Written by derive.py from {BASE}.toml, whose choices hold here; not to be changed by hand.\n"
        f'schema_version = 2\nname = "{node:g}nm"\nnode_nm = {node:g}\n'
        f'voltage_v = {volts:g}\nprocess = "{process}"\n'
    ]  # fmt: skip
    for key, quantity in quantities(base):
        e = _entry(key, quantity, node, volts, base)
        parts.append(
            f"[{key}]\nvalue = {_number(e.value)}\nlow = {_number(e.low)}\nhigh = {_number(e.high)}\n"
            f'unit = "{quantity.unit}"\nstatus = "{e.status}"\nsource = """\n{_wrapped(e.source)}"""\n'
        )
    return "\n".join(parts)


def main() -> None:
    for node in NODES:
        (HERE / f"{node:g}nm.toml").write_text(derived(node), encoding="utf-8")
        print(f"{node:g}nm.toml")


if __name__ == "__main__":
    main()
