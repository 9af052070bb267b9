"""For each operator the kinds of cases that its vectors hold, and a function that draws one.

A row is ``operator: Cases(kinds, make)`` with ``make(rng, kind, profile) -> Case``; the files beside this
one hold the makers.
"""

from __future__ import annotations

from simulator.vectors import elementwise, formats, movements, products, recurrent, reductions
from simulator.vectors.build import Case, Rng
from simulator.vectors.elementwise import ALL_KINDS, Cases, Make

# Operators that need an element to choose, or that make something of nothing.
_NOT_EMPTY = (
    "batch_to_space_nd", "broadcast_to", "cast", "depth_to_space", "gather", "gather_nd", "mirror_pad",
    "pad", "padv2", "slice", "space_to_batch_nd", "space_to_depth", "split", "squeeze", "strided_slice",
    "tile", "unpack",
)  # fmt: skip


def _movement(name: str, make: Make) -> Cases:
    kinds = movements.WHOLE if name in _NOT_EMPTY else movements.KINDS
    return Cases(ALL_KINDS if name == "concatenation" else kinds, make)


def _product(operator: str, make: Make) -> Cases:
    """Products of QONNX are compared with thresholds; ONNX has weights of 4 bits besides."""

    def drawn(rng: Rng, kind: str, profile: str) -> Case:
        if profile == "qonnx":
            return formats.compared_product(rng, kind, operator)
        if (operator, profile) == ("fully_connected", "onnxruntime") and rng.integers(4) == 0:
            return formats.alone_product(rng, kind, profile)
        return make(rng, kind, profile)

    return Cases(ALL_KINDS, drawn)


CASES: dict[str, Cases] = {
    **elementwise.CASES,
    **reductions.CASES,
    **recurrent.CASES,
    **formats.CASES,
    "conv_2d": _product("conv_2d", products.conv_2d),
    "depthwise_conv_2d": _product("depthwise_conv_2d", products.depthwise_conv_2d),
    "fully_connected": _product("fully_connected", products.fully_connected),
    "transpose_conv": Cases(ALL_KINDS, products.transpose_conv),
    "batch_matmul": Cases(ALL_KINDS, products.batch_matmul),
    **{name: _movement(name, make) for name, make in movements.MOVEMENTS.items()},
}
