"""The tables of a device's energy and area, also with one number at an end of its range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from simulator.energy.table import (
    Bounds,
    Dram,
    EnergyTable,
    Quantity,
    Section,
    load_dram_table,
    load_energy_table,
    quantities,
    table_for,
)
from simulator.errors import DeviceError
from simulator.hwconfig import Device

_DRAM = "dram"


class Prices(NamedTuple):
    """An energy table and the memory behind the DMA."""

    table: EnergyTable
    dram: Dram


def prices_of(device: Device) -> Prices:
    """The energy table that ``device`` names, by default the one for its node, and its kind of memory."""
    try:
        table = load_energy_table(device.energy.table or table_for(device.energy.node_nm))
    except DeviceError as error:
        raise DeviceError(device.name, f"energy.table: {error.problem}", error.allowed) from None
    kinds = load_dram_table().dram
    if device.dram.kind not in kinds:
        problem = f"dram.kind = {device.dram.kind!r} is no memory of energy/dram.toml"
        raise DeviceError(device.name, problem, ", ".join(sorted(kinds)))
    return Prices(table, kinds[device.dram.kind])


def entries(prices: Prices) -> Iterator[tuple[str, Quantity[Any]]]:
    """Every number with its dotted key; that of the memory is ``dram.pj_per_bit``."""
    yield from quantities(prices.table)
    yield from ((f"{_DRAM}.{key}", quantity) for key, quantity in quantities(prices.dram))


def at_end(prices: Prices, key: str, bounds: Bounds) -> Prices:
    """``prices`` with the number under ``key`` at one end of its range, all others as they are."""
    first, *rest = key.split(".")
    if first == _DRAM:
        return prices._replace(dram=_replaced(prices.dram, rest, bounds))
    return prices._replace(table=_replaced(prices.table, [first, *rest], bounds))


def _replaced(section: Any, path: list[str], bounds: Bounds) -> Any:
    if isinstance(section, Quantity):
        return section.model_copy(update={"value": section.at(bounds)})
    fields = type(section).model_fields
    name = next(n for n, field in fields.items() if path[0] in (n, field.alias))
    inner: Section = getattr(section, name)
    return section.model_copy(update={name: _replaced(inner, path[1:], bounds)})
