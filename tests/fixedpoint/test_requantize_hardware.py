"""What each requantizer is made of."""

from __future__ import annotations

import pytest

from simulator.fixedpoint.requantize import REQUANTIZERS
from simulator.fixedpoint.requantize_hardware import Hardware


@pytest.mark.parametrize(
    ("kind", "accumulator_bits", "expected"),
    [
        ("double_rounding", 32, Hardware((32, 32), (32, 32), (32, 32))),
        ("double_rounding_up", 20, Hardware((32, 32), (32, 32), (32, 32))),
        ("single_rounding", 32, Hardware((32, 32), (32,), (64,))),
        ("dyadic_even", 24, Hardware((24, 32), (32,), (56,))),
        ("truncate", 48, Hardware((32, 32), (32,), (64,))),
        ("natural", 32, Hardware((32, 32), (32,), (64,))),
        ("reduced_multiplier", 64, Hardware((48, 16), (32,), (64,))),
        ("power_of_two", 40, Hardware(None, (40,), (40,))),
        ("none", 40, Hardware(None, (), ())),
        ("float32_even", 32, Hardware((24, 24), (32, 24, 24, 8, 32), (32,), (32,))),
        ("float32_even", 20, Hardware((20, 24), (20, 24, 8, 32), (32,), (20,))),
        ("float64_away", 32, Hardware((32, 53), (32, 53, 11, 32), (53,), (32,))),
        ("float64_away", 62, Hardware((53, 53), (62, 53, 53, 11, 32), (53,), (62,))),
    ],
)
def test_parts(kind: str, accumulator_bits: int, expected: Hardware) -> None:
    assert REQUANTIZERS[kind].hardware(accumulator_bits) == expected


def test_what_costs_more() -> None:
    """Multipliers cost by the product of their widths: the order that a price must keep."""
    area = {}
    for name, requantizer in REQUANTIZERS.items():
        widths = requantizer.hardware(32).multiplier_bits
        area[name] = widths[0] * widths[1] if widths else 0
    assert area["power_of_two"] < area["reduced_multiplier"] < area["float32_even"]
    assert area["float32_even"] < area["double_rounding"] < area["float64_away"]
