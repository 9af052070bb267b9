"""Scaling of energy with node and voltage."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from simulator.energy.scaling import (
    Scaling,
    area_factor,
    clock_factor,
    energy_factor,
    idle_factor,
    leakage_factor,
    load_scaling,
    wire_factor,
)
from simulator.energy.table import parse_toml
from simulator.errors import DeviceError
from simulator.hwconfig import OperatingPoint

# Ratios of the polynomials of Stillmaker and Baas to 45 nm HK-HP at 0.9 V, worked out by hand.
WORKED = [
    (65, 1.1, 2.405, 5e-4),
    (45, 0.9, 1.0, 0),
    (32, 0.97, 0.7674, 5e-5),
    (20, 0.9, 0.2873, 5e-5),
    (16, 0.8, 0.1721, 5e-5),
    (14, 0.8, 0.1377, 5e-5),
    (10, 0.8, 0.1168, 5e-5),
    (7, 0.8, 0.0935, 5e-5),
    (7, 0.7, 0.0684, 5e-5),
]


@pytest.mark.parametrize(("node_nm", "voltage_v", "expected", "tolerance"), WORKED)
def test_published_nodes(
    node_nm: float, voltage_v: float, expected: float, tolerance: float
) -> None:
    assert energy_factor(node_nm, voltage_v, 45, 0.9) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("node_nm", [180, 130, 90, 65, 45, 32, 20, 16, 14, 10, 7, 28, 22, 12, 5])
def test_energy_rises_with_voltage(node_nm: float) -> None:
    nominal = min(load_scaling().nodes, key=lambda n: abs(n.node_nm - node_nm)).nominal_v
    volts = [nominal * step / 20 for step in range(14, 27)]
    factors = [energy_factor(node_nm, v, 45, 0.9) for v in volts]
    assert all(a < b for a, b in pairwise(factors))


def test_energy_falls_with_the_node() -> None:
    factors = [energy_factor(n, 0.8, 45, 0.9) for n in (32, 28, 22, 20, 16, 14, 12, 10, 7, 6, 5)]
    assert all(a > b for a, b in pairwise(factors))


@pytest.mark.parametrize(
    ("larger", "node_nm", "smaller"), [(32, 28, 20), (32, 22, 20), (14, 12, 10)]
)
def test_between_nodes_is_a_line_in_logarithms(
    larger: float, node_nm: float, smaller: float
) -> None:
    logs = [math.log(energy_factor(n, 0.8, 45, 0.9)) for n in (larger, node_nm, smaller)]
    slope = (logs[2] - logs[0]) / math.log(smaller / larger)
    assert logs[1] == pytest.approx(logs[0] + slope * math.log(node_nm / larger), rel=1e-12)


def test_5nm_continues_the_line_from_10_to_7() -> None:
    at_10, at_7, at_5 = (energy_factor(n, 0.75, 45, 0.9) for n in (10, 7, 5))
    exponent = math.log(5 / 7) / math.log(7 / 10)
    assert at_5 == pytest.approx(at_7 * (at_7 / at_10) ** exponent, rel=1e-12)


def test_factor_is_a_ratio() -> None:
    assert energy_factor(28, 0.8, 28, 0.8) == 1
    there, back = energy_factor(14, 0.8, 45, 0.9), energy_factor(45, 0.9, 14, 0.8)
    assert there * back == pytest.approx(1)


@pytest.mark.parametrize("node_nm", [4.9, 3, 181, 250])
def test_unknown_nodes_are_refused(node_nm: float) -> None:
    with pytest.raises(DeviceError) as caught:
        energy_factor(node_nm, 0.8, 45, 0.9, "chip.toml")
    assert str(caught.value) == (
        f"chip.toml: node_nm = {node_nm:g}: no energy scaling known; allowed: 5 to 180"
    )


@pytest.mark.parametrize(
    ("node_nm", "voltage_v", "allowed"),
    [
        (7, 0.31, "0.320 to 1.200 V"),  # below 0.4 of nominal
        (7, 1.21, "0.320 to 1.200 V"),  # above 1.5 of nominal
        (65, 0.5, "0.586 to 1.650 V"),  # left of the fit's minimum
        (180, 0.725, "0.730 to 2.700 V"),  # the fit is negative there
        (5, 0.33, "0.332 to 1.200 V"),  # an extrapolation uses two fits
        (28, 1.4, "0.388 to 1.350 V"),  # an interpolation too
    ],
)
def test_voltages_outside_the_fit_are_refused(
    node_nm: float, voltage_v: float, allowed: str
) -> None:
    with pytest.raises(DeviceError) as caught:
        energy_factor(node_nm, voltage_v, 45, 0.9)
    assert f"voltage_v = {voltage_v:g} at {node_nm:g} nm" in caught.value.problem
    assert caught.value.allowed == allowed


def test_a_bad_base_is_refused_too() -> None:
    with pytest.raises(DeviceError, match="node_nm = 2"):
        energy_factor(45, 0.9, 2, 0.9)


def test_wire_is_within_15_percent_of_the_published_projections() -> None:
    assert 0.24 * wire_factor(0.75, 0.9) == pytest.approx(0.150, rel=0.15)
    assert 0.24 * wire_factor(0.65, 0.9) == pytest.approx(0.115, rel=0.15)


def test_leakage_and_idle() -> None:
    first = OperatingPoint(name="a", voltage_v=0.8, clock_mhz=370)
    second = OperatingPoint(name="b", voltage_v=0.65, clock_mhz=240)
    assert leakage_factor(0.8, 0.8) == 1
    assert leakage_factor(0.4, 0.8) == pytest.approx(0.25)
    assert idle_factor(first, first) == 1
    assert idle_factor(second, first) == pytest.approx(240 / 370 * (0.65 / 0.8) ** 2)


NODE = '[[nodes]]\nnode_nm = {}\nprocess = "bulk"\na2 = {}\na1 = {}\na0 = 1\nnominal_v = 1\n'
NODE += "threshold_v = 0.3\narea = {}\n"
LAW = '[{}]\nexponent = 1\nstatus = "estimated"\nsource = "made up for a test"\n'
HEAD = 'schema_version = 2\nsource = "made up for a test"\n'
HEAD += LAW.format("clock") + LAW.format("leakage")


def _scaling(*nodes: tuple[float, float, float]) -> Scaling:
    return parse_toml(HEAD + "".join(NODE.format(*n, n[0]) for n in nodes), "scaling.toml", Scaling)


def test_nodes_must_fall() -> None:
    with pytest.raises(DeviceError, match=r"scaling.toml: nodes: node_nm .* does not fall"):
        _scaling((45, 1, 1), (65, 1, 1))


def test_area_must_fall() -> None:
    text = HEAD + NODE.format(65, 1, 1, 1) + NODE.format(45, 1, 1, 2)
    with pytest.raises(DeviceError, match="area does not fall with node_nm"):
        parse_toml(text, "scaling.toml", Scaling)


def test_area_of_published_nodes_and_between() -> None:
    assert area_factor(7, 45) == pytest.approx(0.0032 / 0.053)
    assert area_factor(32, 45) > area_factor(28, 45) > area_factor(22, 45) > area_factor(20, 45)
    assert area_factor(5, 7) < 1


def test_the_clock_rises_with_the_supply_and_as_published() -> None:
    for node in (65, 45, 28, 22, 14, 7, 5):
        speeds = [clock_factor(node, v / 100, 1.0) for v in range(55, 115, 5)]
        assert all(a < b for a, b in pairwise(speeds))
    # GAP9, 22 nm: 240 MHz at 0.65 V, 370 at 0.80 (MLPerf Tiny v1.0), a fifth more than the law gives.
    assert clock_factor(22, 0.8, 0.65) == pytest.approx(370 / 240, rel=0.25)
    with pytest.raises(DeviceError, match="no clock runs at 22 nm") as caught:
        clock_factor(22, 0.2, 0.8, "gap9")
    assert caught.value.where == "gap9"


@pytest.mark.parametrize(("a2", "a1"), [(-1, 1), (0, 0), (0, -1)])
def test_energy_must_rise_with_voltage(a2: float, a1: float) -> None:
    with pytest.raises(DeviceError, match="65 nm does not rise with voltage"):
        _scaling((65, a2, a1), (45, 1, 1))


def test_unknown_key_of_a_node_names_the_known_ones() -> None:
    text = HEAD + NODE.format(65, 1, 1, 3) + "b = 1\n"
    text += NODE.format(45, 1, 1, 2) + NODE.format(32, 1, 1, 1)
    with pytest.raises(DeviceError) as caught:
        parse_toml(text, "scaling.toml", Scaling)
    assert caught.value.problem == "nodes.0.b: unknown key"
    assert caught.value.allowed == "node_nm, process, a2, a1, a0, nominal_v, threshold_v, area"
