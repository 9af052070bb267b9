"""From the node and voltage of an energy table to those of a device.

Dynamic energy per operation is a polynomial in the supply voltage, one per node (Stillmaker and
Baas, Integration 58 (2017) 74-81, doi:10.1016/j.vlsi.2017.02.002); only the ratio of two of them
means anything, as of two areas. The coefficients are in ``hwconfigs/energy/scaling.toml``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from simulator.energy.table import Positive, Section, SourceText, read_toml
from simulator.errors import DeviceError
from simulator.hwconfig import OperatingPoint
from simulator.resources import data_folder

# Below the smallest published node the trend between the last two is continued this far.
SMALLEST_NODE_NM = 5.0
# A fit is trusted between these multiples of its nominal supply.
LOWEST_SUPPLY = 0.4
HIGHEST_SUPPLY = 1.5

_Coefficient = Annotated[float, Field(allow_inf_nan=False)]


class NodeEnergy(Section):
    """Relative energy ``a2 * V^2 + a1 * V + a0`` of one node; ``nominal_v`` its usual supply."""

    node_nm: Positive
    process: Literal["bulk", "HK-HP", "MG-HP"]
    a2: _Coefficient
    a1: _Coefficient
    a0: _Coefficient
    nominal_v: Positive
    threshold_v: Positive
    area: Positive

    def energy(self, voltage_v: float) -> float:
        """Relative energy of an operation; meaningful within :meth:`supply_range` only."""
        return (self.a2 * voltage_v + self.a1) * voltage_v + self.a0

    def supply_range(self) -> tuple[float, float]:
        """Lowest and highest voltage at which the fit can hold, in volts.

        Energy rises with voltage, so a fit is of no use left of its minimum or where it is not
        positive (the 180 nm line), even if that lies above the usual lower limit.
        """
        turn = -self.a1 / (2 * self.a2) if self.a2 > 0 else -self.a0 / self.a1
        return max(LOWEST_SUPPLY * self.nominal_v, turn), HIGHEST_SUPPLY * self.nominal_v


class Law(Section):
    """The exponent of a power law."""

    exponent: Positive
    status: Literal["published", "derived", "estimated"]
    source: SourceText


class Scaling(Section):
    """The published nodes, largest first, and the laws of clock and leakage."""

    schema_version: Literal[2]
    source: SourceText
    clock: Law
    leakage: Law
    nodes: Annotated[tuple[NodeEnergy, ...], Field(min_length=2, strict=False)]

    @model_validator(mode="after")
    def _largest_first(self) -> Scaling:
        sizes = [n.node_nm for n in self.nodes]
        if any(a <= b for a, b in pairwise(sizes)):
            raise ValueError(f"nodes: node_nm {sizes} does not fall from one to the next")
        if any(a.area <= b.area for a, b in pairwise(self.nodes)):
            raise ValueError("nodes: area does not fall with node_nm")
        for node in self.nodes:
            if node.a2 <= 0 and not (node.a2 == 0 and node.a1 > 0):
                raise ValueError(f"nodes: energy of {node.node_nm:g} nm does not rise with voltage")
        return self


class _Between(NamedTuple):
    """A node as a weighted geometric mean; a negative ``weight`` of ``larger`` extrapolates."""

    larger: NodeEnergy
    smaller: NodeEnergy
    weight: float

    def mean(self, of: Callable[[NodeEnergy], float]) -> float:
        """A number of the node: a straight line on log-log paper; a published node's own, exactly."""
        if self.weight in (0, 1):
            return of(self.larger if self.weight else self.smaller)
        return of(self.larger) ** self.weight * of(self.smaller) ** (1 - self.weight)


@cache
def load_scaling() -> Scaling:
    """The shipped scaling table."""
    return read_toml(data_folder("hwconfigs") / "energy" / "scaling.toml", Scaling)


def _between(node_nm: float, where: str) -> _Between:
    nodes = load_scaling().nodes
    if not SMALLEST_NODE_NM <= node_nm <= nodes[0].node_nm:
        allowed = f"{SMALLEST_NODE_NM:g} to {nodes[0].node_nm:g}"
        raise DeviceError(where, f"node_nm = {node_nm:g}: no energy scaling known", allowed)
    # The last pair also serves smaller nodes; a published node is its pair's end, exactly.
    last = len(nodes) - 2
    index = next((i for i in range(last) if node_nm >= nodes[i + 1].node_nm), last)
    larger, smaller = nodes[index], nodes[index + 1]
    weight = math.log(node_nm / smaller.node_nm) / math.log(larger.node_nm / smaller.node_nm)
    return _Between(larger, smaller, weight)


def _relative_energy(node_nm: float, voltage_v: float, where: str) -> float:
    between = _between(node_nm, where)
    larger, smaller, weight = between
    used = [n for n, share in ((larger, weight), (smaller, 1 - weight)) if share != 0]
    lowest = max(n.supply_range()[0] for n in used)
    highest = min(n.supply_range()[1] for n in used)
    if not lowest <= voltage_v <= highest or any(n.energy(voltage_v) <= 0 for n in used):
        raise DeviceError(
            where,
            f"voltage_v = {voltage_v:g} at {node_nm:g} nm: outside the range of the energy fit",
            f"{lowest:.3f} to {highest:.3f} V",
        )
    return between.mean(lambda node: node.energy(voltage_v))


def energy_factor(
    node_nm: float,
    voltage_v: float,
    base_node_nm: float,
    base_voltage_v: float,
    where: str = "energy scaling",
) -> float:
    """Energy of a logic or SRAM operation relative to the base node and voltage.

    Between two published nodes the energy at the same voltage is interpolated geometrically in
    log(node): a straight line on log-log paper. From 7 nm down to 5 nm the line from 10 nm to 7 nm
    is continued, which is an estimate and no published number. Off-chip memory and links do not
    scale this way and must not be multiplied with it; wires have :func:`wire_factor`.
    """
    return _relative_energy(node_nm, voltage_v, where) / _relative_energy(
        base_node_nm, base_voltage_v, where
    )


def area_factor(node_nm: float, base_node_nm: float, where: str = "area scaling") -> float:
    """Area of the same logic relative to the base node; interpolated and continued as energy is."""
    node, base = (_between(n, where).mean(lambda x: x.area) for n in (node_nm, base_node_nm))
    return node / base


def nominal_supply(node_nm: float, where: str = "energy scaling") -> float:
    """The usual supply of a node, in volts; between published nodes interpolated like energy."""
    return _between(node_nm, where).mean(lambda node: node.nominal_v)


def clock_factor(
    node_nm: float, voltage_v: float, base_voltage_v: float, where: str = "clock scaling"
) -> float:
    """Clock that a supply allows, relative to that at ``base_voltage_v``: the alpha-power law,
    ``(V - Vt)^a / V``."""
    threshold = _between(node_nm, where).mean(lambda node: node.threshold_v)
    exponent = load_scaling().clock.exponent
    if min(voltage_v, base_voltage_v) <= threshold:
        problem = f"voltage_v = {min(voltage_v, base_voltage_v):g}: no clock runs at {node_nm:g} nm"
        raise DeviceError(where, problem, f"above {threshold:.3f} V")

    def speed(volts: float) -> float:
        return (volts - threshold) ** exponent / volts

    return speed(voltage_v) / speed(base_voltage_v)


def gate_leakage_factor(node_nm: float, base_node_nm: float) -> float:
    """Leakage of a gate or of a bit relative to the base node, at the nominal supply of each."""
    return (node_nm / base_node_nm) ** load_scaling().leakage.exponent


def wire_factor(voltage_v: float, base_voltage_v: float) -> float:
    """Energy of a wire relative to the base voltage: ``(V / Vbase)^2``, whatever the node.

    Capacitance per millimetre hardly changes with the node. From 0.240 pJ/bit/mm at 40 nm (taken
    at 0.9 V) it gives 0.167 at 0.75 V and 0.125 at 0.65 V, where Keckler et al., IEEE Micro 31(5)
    2011, project 0.150 and 0.115 for 10 nm.
    """
    return (voltage_v / base_voltage_v) ** 2


def leakage_factor(voltage_v: float, nominal_voltage_v: float) -> float:
    """Leakage power relative to that at ``nominal_voltage_v``: ``(V / Vnom)^2``.

    Estimated: one power of V is the supply itself, the other stands for the current's dependence on
    voltage near nominal supply. Temperature is left out.
    """
    return (voltage_v / nominal_voltage_v) ** 2


def idle_factor(point: OperatingPoint, first: OperatingPoint) -> float:
    """Idle power relative to that at the ``first`` operating point: clock times voltage squared."""
    return point.clock_mhz / first.clock_mhz * (point.voltage_v / first.voltage_v) ** 2
