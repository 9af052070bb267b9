"""Products whose input has a zero point made at run time (ConvInteger, MatMulInteger): a fourth input.

``sum w * (x - z) = sum w * x - z * sum w``: the product of the codes as they are, padding taps being 0,
less the zero point times the sum of the weights. That sum is a constant: one per output
channel, or, where there is padding, of the weights that meet the image at each place.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops import _product
from simulator.ops._product import Product
from simulator.ops._stage import sums_only
from simulator.ops.add import elementwise_nest
from simulator.program.commands import LaneWork, Vector
from simulator.program.nest import Nest
from simulator.tensor import TensorSpec


def zero_point_of(node: Node) -> str:
    """The name of the run-time zero point, '' where there is none."""
    return node.inputs[3] if len(node.inputs) > 3 else ""


def inputs_known(graph: Graph, node: Node) -> bool:
    """it has 2 to 4 inputs, and the first is not a constant; a fourth one is the input's zero point, one
    number of the input's type made at run time, beside an int32 output without bias"""
    first, zero = node.inputs[0], zero_point_of(node)
    if not 2 <= len(node.inputs) <= 4 or not first or graph.constant(first):
        return False
    if not zero:
        return len(node.inputs) < 4
    spec = graph.spec(zero)
    one = spec.elements == 1 and spec.dtype == graph.spec(first).dtype
    plain = sums_only(graph, node) and not node.inputs[2] and not graph.constant(zero)
    return one and plain and graph.quantization(first).zero_point == 0


def without(node: Node) -> Node:
    """The product of the codes as they are."""
    return replace(node, inputs=node.inputs[:2]) if zero_point_of(node) else node


def rules(known: tuple[common.Rule, ...]) -> tuple[common.Rule, ...]:
    """The rules of a product, its inputs counted as above."""

    def on_codes(rule: common.Rule) -> common.Rule:
        def checked(graph: Graph, node: Node) -> bool:
            return rule(graph, without(node))

        checked.__doc__ = rule.__doc__
        return checked

    return (inputs_known, *(on_codes(rule) for rule in known[1:]))


def weight_sums(graph: Graph, node: Node, nest: Nest, weights: np.ndarray) -> np.ndarray:
    """Sums of weights without their zero point: (groups * n), with padding (out_h, out_w, groups * n)."""
    plain = weights.astype(np.int64) - graph.quantization(node.inputs[1]).zero_point
    rows, cols = (
        np.arange(out)[:, np.newaxis] * stride - pad + np.arange(kernel) * dilation
        for out, stride, pad, kernel, dilation in (
            (nest.out_h, nest.stride_h, nest.pad_top, nest.kernel_h, nest.dilation_h),
            (nest.out_w, nest.stride_w, nest.pad_left, nest.kernel_w, nest.dilation_w),
        )
    )
    inside_y = ((rows >= 0) & (rows < nest.in_h)).astype(np.int64)
    inside_x = ((cols >= 0) & (cols < nest.in_w)).astype(np.int64)
    taps = plain.sum(axis=3).transpose(1, 2, 0, 3).reshape(nest.kernel_h, nest.kernel_w, -1)
    if inside_y.all() and inside_x.all():
        return taps.sum(axis=(0, 1))
    return np.einsum("yk,xl,klc->yxc", inside_y, inside_x, taps)


def lower(graph: Graph, node: Node, device: Device, product: Product) -> common.Lowered:
    """The product, and where the zero point comes at run time what it takes away."""
    if not zero_point_of(node):
        return _product.lower_product(graph, node, device, product)
    made = node.outputs[0]
    raw, sums = f"{node.name}/raw", f"{node.name}/weight_sums"
    lowered = _product.lower_product(graph, without(node), device, replace(product, ofmap=raw))
    assert not isinstance(product.weights, str)
    table = weight_sums(graph, node, product.nest, product.weights).astype(np.int32)
    spec = graph.spec(made)
    command = Vector(
        name=f"{node.name}/less", operator=node.operator, function="less_zero_point",
        inputs=(raw, sums, zero_point_of(node)), ofmap=made, nest=elementwise_nest(spec.shape),
        parameters=(), lane=LaneWork(cycles=1, multiplies=1, adds=1),
    )  # fmt: skip
    return common.Lowered(
        (*lowered.commands, command), {**lowered.constants, sums: table},
        {raw: spec, sums: TensorSpec(table.shape, "i32")},
    )  # fmt: skip


def naive(
    graph: Graph, node: Node, inputs: list[np.ndarray], weights: np.ndarray, nest: Nest
) -> np.ndarray:
    """The product with the zero point taken from each code."""
    if not zero_point_of(node):
        return _product.naive_product(graph, node, inputs[0], weights, nest)
    x = inputs[0].astype(np.int64) - int(inputs[1].reshape(-1)[0])
    return _product.naive_product(graph, without(node), x, weights, nest)
