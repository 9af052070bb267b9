"""Products of recurrent operators: several to a node, in the double rounding of the reference."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.graph import Node
from simulator.hwconfig import Device
from simulator.ops._common import REQUANTIZE_LANE
from simulator.ops._product import CHANNEL_BITS
from simulator.program.commands import Matmul, Requantize
from simulator.program.nest import Nest


class Product(NamedTuple):
    """What is multiplied, and how sums become codes.

    ``weights`` are codes of zero point 0, (groups, 1, 1, k, n); ``bias`` int64 and ``scaling``, pairs of
    multiplier and shift, have one entry per output channel.
    """

    nest: Nest
    weights: np.ndarray
    weight_bits: int
    bias: np.ndarray
    scaling: list[tuple[int, int]]
    zero_point: int
    """Of the ifmap."""


class Code(NamedTuple):
    """From a scaled sum to a code."""

    zero_point: int
    clamp_min: int
    clamp_max: int


def product(
    base: str, node: Node, device: Device, parts: Product, code: Code
) -> tuple[Matmul, dict[str, np.ndarray]]:
    """A Matmul that still wants a name, an ifmap and an ofmap, and its constants, named after ``base``:
    the steps of an unrolled operator share them."""
    bias, offset = parts.bias, parts.zero_point
    if device.array.zero_point == "fold":
        bias = bias - offset * parts.weights.astype(np.int64).sum(axis=(1, 2, 3)).reshape(-1)
        offset = 0
    names = {p: f"{base}/{p}" for p in ("weights", "bias", "multiplier", "shift")}
    command = Matmul(
        name="", operator=node.operator, ifmap="", weights=names["weights"], bias=names["bias"],
        ofmap="", nest=parts.nest, dataflow=device.array.dataflow, ifmap_offset=offset,
        weight_offset=0, pad_code=parts.zero_point, weight_bits=parts.weight_bits,
        channel_bits=CHANNEL_BITS,
        requantize=Requantize("double_rounding", names["multiplier"], names["shift"], *code),
        lane=REQUANTIZE_LANE,
    )  # fmt: skip
    return command, {
        names["weights"]: np.ascontiguousarray(parts.weights),
        names["bias"]: bias,
        names["multiplier"]: np.array([m for m, _ in parts.scaling], np.int64),
        names["shift"]: np.array([e for _, e in parts.scaling], np.int64),
    }
