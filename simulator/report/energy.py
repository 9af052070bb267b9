"""Where energy goes, how sure that is, and what the silicon takes, as text and as JSON."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from simulator.energy.model import EnergyModel
from simulator.report.machine_readable import about
from simulator.report.text import ends, quantity
from simulator.result import Result

SCHEMA_VERSION = 1
_NOT_SHOWN = 0.001  # of the energy: a number that moves it by less is left out of the table


def energy_report(result: Result) -> str:
    """What ``npusim energy`` prints."""
    t = result.totals
    parts = sorted(result.energy_by_component_pj.items(), key=lambda item: -item[1])
    rows = [
        [name, quantity(1e-12 * pj, "J"), f"{100 * pj / t.energy_pj:.1f} %"]
        for name, pj in parts
        if pj
    ]
    align = ("left", "right", "right")
    shares = tabulate(rows, ["part", "energy", "share"], disable_numparse=True, colalign=align)
    return "\n\n".join([
        f"{result.model.name} on {result.device.name} at {result.point.name}: "
        f"{quantity(1e-12 * t.energy_pj, 'J')}\n"
        f"  {ends(t.energy_low_pj, t.energy_high_pj, 1e-12, 'J')} where numbers err independently, "
        f"{ends(t.energy_lowest_pj, t.energy_highest_pj, 1e-12, 'J')} where all err one way",
        shares, _sensitivity(result), _silicon(result),
    ])  # fmt: skip


def _sensitivity(result: Result) -> str:
    """A row for every number of the tables that moves TOPS/W, what moves it most first."""
    t, rows = result.totals, []
    for e in result.effects:
        if e.swing_pj < _NOT_SHOWN * t.energy_pj:
            continue
        efficiency = [2 * t.macs / pj for pj in (e.high_pj, e.low_pj)]
        rows.append([
            e.key, f"{e.value:.3g}", f"{e.low:.3g} to {e.high:.3g}", e.unit, e.status,
            f"{100 * (e.low_pj / t.energy_pj - 1):+.1f} to {100 * (e.high_pj / t.energy_pj - 1):+.1f} %",
            f"{efficiency[0]:.3g} to {efficiency[1]:.3g}",
        ])  # fmt: skip
    headers = ["number of the tables", "value", "range", "unit", "status", "energy", "TOPS/W"]
    align = ("left", "right", "right", "left", "left", "right", "right")
    table = tabulate(rows, headers, disable_numparse=True, colalign=align)
    title = (
        f"TOPS/W {t.tops_per_watt:.3g}; one number at an end of its range, all others as they are:"
    )
    return f"{title}\n{table}"


def _silicon(result: Result) -> str:
    """Parts of the area, and the cost of a die."""
    device, point = result.device, result.point
    value, low, high = (EnergyModel(device, point, b) for b in ("value", "low", "high"))
    rows = [
        [name, f"{mm2:.3g}", f"{least:.2g} to {most:.2g}"]
        for name, mm2, least, most in zip(
            value.area._fields, value.area, low.area, high.area, strict=True
        )
    ]
    rows.append(
        ["together", f"{value.area.total:.3g}", f"{low.area.total:.2g} to {high.area.total:.2g}"]
    )
    align = ("left", "right", "right")
    table = tabulate(rows, ["silicon", "mm²", "range"], disable_numparse=True, colalign=align)
    return (
        f"{table}\n\npeak {result.totals.peak_tops_per_mm2:.3g} TOPS/mm²; of a wafer of "
        f"{device.energy.node_nm:g} nm this much costs {value.die_cost_usd:.2g} USD "
        f"({low.die_cost_usd:.2g} to {high.die_cost_usd:.2g}), without what lies around it,\n"
        "package, test and masks"
    )


def energy_to_dict(result: Result) -> dict[str, Any]:
    """Everything ``npusim energy`` says."""
    device, point = result.device, result.point
    models = {b: EnergyModel(device, point, b) for b in ("value", "low", "high")}
    t = result.totals
    return about(SCHEMA_VERSION, result.model.name, device) | {
        "operating_point": point.model_dump(),
        "energy_pj": {
            "value": t.energy_pj, "low": t.energy_low_pj, "high": t.energy_high_pj,
            "lowest": t.energy_lowest_pj, "highest": t.energy_highest_pj,
        },
        "energy_by_component_pj": result.energy_by_component_pj,
        "tops_per_watt": t.tops_per_watt,
        "effects": [effect._asdict() for effect in result.effects],
        "area_mm2": {b: m.area._asdict() for b, m in models.items()},
        "die_cost_usd": {b: m.die_cost_usd for b, m in models.items()},
    }  # fmt: skip
