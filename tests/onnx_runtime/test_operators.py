"""Every quantized operator of ONNX on the datapath against ONNX Runtime: types, forms, unlucky scales.

Scales and codes are drawn so that results lie on ties: powers of two and small ratios beside random ones;
each case also holds the operators' definitions. That a unit in the last place of a scale shows, a test
holds for each arithmetic.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_builder import MICROSOFT, OnnxBuilder
from onnx_compare import LARGEST_WEIGHT, compared
from random_devices import small_device

from simulator.compiler import compile_graph
from simulator.crosscheck.inputs import random_inputs
from simulator.datapath.machine import Machine
from simulator.importers.onnx import read_onnx

pytest.importorskip("onnxruntime", reason="the reference runtime is an extra: npusim[verify]")

from simulator.crosscheck.onnxruntime import open_runtime

_KINDS = {np.uint8: "UINT8", np.int8: "INT8", np.int16: "INT16", np.uint16: "UINT16"}
Draw = np.random.Generator
_DRAWS = 40
CASES = int(os.environ.get("ONNX_CASES", "6"))  # per operator and type


def scale(rng: Draw, like: float = 0.0) -> float:
    """Any scale, or (mostly) one in a simple ratio to ``like``, where ties are."""
    if like and rng.integers(4):
        return float(np.float32(like * rng.choice([0.25, 0.5, 1, 1.5, 2, 4])))
    return float(np.float32(np.exp(rng.uniform(-5, 0))))


def zero_point(rng: Draw, kind: type) -> int:
    limits = np.iinfo(kind)
    anywhere = int(rng.integers(limits.min, limits.max + 1))
    return int(rng.choice([int(limits.min), int(limits.max), anywhere]))


def start(
    rng: Draw, kind: type, shape: tuple[int, ...], names: str = "x", real: bool = False
) -> tuple[OnnxBuilder, float]:
    """A model whose inputs are codes, or with ``real`` numbers that it quantizes; ``n_dq`` are the numbers.

    The runtime joins a Conv of int8 codes only where it can make them uint8: not where they are shown.
    """
    b, s = OnnxBuilder(21), 0.0
    for name in names:
        s = scale(rng, s)
        stated = b.scale(name, s, zero_point(rng, kind), kind)
        if real:
            b.input(name, shape)
            b.node("QuantizeLinear", [name, *stated], f"{name}_q")
        else:
            b.input(f"{name}_q", shape, _KINDS[kind])
        b.node("DequantizeLinear", [f"{name}_q", *stated], f"{name}_dq")
    return b, s


def end(b: OnnxBuilder, rng: Draw, kind: type, like: float, real: bool = False) -> bytes:
    """y as codes, or with ``real`` as the numbers that they stand for."""
    stated = b.scale("y", scale(rng, like), zero_point(rng, kind), kind)
    b.node("QuantizeLinear", ["y", *stated], "y_q")
    if real:
        b.node("DequantizeLinear", ["y_q", *stated], "y_dq")
    b.output(*(["y_dq"] if real else ["y_q", _KINDS[kind]]))
    return b.write()


def unary(operator: str, **attrs: Any) -> Callable[[Draw, type], bytes]:
    def make(rng: Draw, kind: type) -> bytes:
        b, s = start(rng, kind, (1, 3, 16, 64))
        b.node(operator, ["x_dq"], "y", **attrs)
        return end(b, rng, kind, s)

    return make


def binary(operator: str, other: tuple[int, ...] = (1, 3, 16, 64)) -> Callable[[Draw, type], bytes]:
    def make(rng: Draw, kind: type) -> bytes:
        b, s = start(rng, kind, (1, 3, 16, 64), "x")
        t = scale(rng, s)
        b.input("z_q", other, _KINDS[kind])
        stated = b.scale("z", t, zero_point(rng, kind), kind)
        b.node("DequantizeLinear", ["z_q", *stated], "z_dq")
        b.node(operator, ["x_dq", "z_dq"], "y")
        return end(b, rng, kind, s * t if operator in ("Mul", "PRelu") else s)

    return make


def clamped(operator: str) -> Callable[[Draw, type], bytes]:
    """With a Relu, or a Clip, that the runtime cannot take out: it joins nothing then."""

    def make(rng: Draw, kind: type) -> bytes:
        b, s = start(rng, kind, (1, 3, 16, 64), "xz")
        b.node(operator, ["x_dq", "z_dq"], "t")
        if rng.integers(2):
            b.node("Relu", ["t"], "y")
        else:
            b.constant("low", np.float32(-0.3))
            b.constant("high", np.float32(1.7))
            b.node("Clip", ["t", "low", "high"], "y")
        return end(b, rng, kind, s)

    return make


def microsoft(operator: str) -> Callable[[Draw, type], bytes]:
    def make(rng: Draw, kind: type) -> bytes:
        b, s = start(rng, kind, (1, 3, 16, 64), "xz")
        b.nodes.clear()
        product = [numpy_helper.to_array(c) for c in b.constants if c.name.endswith("_scale")]
        like = float(product[0] * product[1]) if operator == "QLinearMul" else s
        y = b.scale("y", scale(rng, like), zero_point(rng, kind), kind)
        x, z = ([f"{n}_q", f"{n}_scale", f"{n}_zero_point"] for n in "xz")
        b.node(operator, [*x, *z, *y], "y_q", MICROSOFT)
        b.output("y_q", _KINDS[kind])
        return b.write()

    return make


def pool(**attrs: Any) -> Callable[[Draw, type], bytes]:
    def make(rng: Draw, kind: type) -> bytes:
        b, s = start(rng, kind, (1, 5, 11, 9))
        b.node("AveragePool", ["x_dq"], "y", **attrs)
        return end(b, rng, kind, s)

    return make


def softmax(rng: Draw, kind: type) -> bytes:
    b, _ = start(rng, kind, (64, int(rng.choice([2, 3, 10, 100]))))
    b.node("Softmax", ["x_dq"], "y", axis=-1)
    stated = b.scale("y", float(rng.choice([1 / 256, 0.0039, 0.01])), zero_point(rng, kind), kind)
    b.node("QuantizeLinear", ["y", *stated], "y_q")
    b.output("y_q", _KINDS[kind])
    return b.write()


def concat(rng: Draw, kind: type) -> bytes:
    b, s = start(rng, kind, (1, 3, 16, 64), "xz")
    b.node("Concat", ["x_dq", "z_dq"], "y", axis=1)
    return end(b, rng, kind, s)


def mean(axes: list[int], keep: int) -> Callable[[Draw, type], bytes]:
    def make(rng: Draw, kind: type) -> bytes:
        b, s = start(rng, kind, (1, *(int(v) for v in rng.integers(1, 20, 3))))
        b.constant("axes", np.array(axes, np.int64))
        b.node("ReduceMean", ["x_dq", "axes"], "y", keepdims=keep)
        return end(b, rng, kind, s)

    return make


def resize(mode: str, coordinates: str) -> Callable[[Draw, type], bytes]:
    def make(rng: Draw, kind: type) -> bytes:
        b, s = start(rng, kind, (1, 3, *(int(v) for v in rng.integers(1, 12, 2))))
        b.constant("sizes", np.array([1, 3, *rng.integers(1, 14, 2)], np.int64))
        named = {"coordinate_transformation_mode": coordinates}
        b.node("Resize", ["x_dq", "", "", "sizes"], "y", mode=mode, **named)
        return end(b, rng, kind, s)

    return make


def conv(group: int, padded: bool, weight_kind: type = np.int8) -> Callable[[Draw, type], bytes]:
    def make(rng: Draw, kind: type) -> bytes:
        b, s = start(rng, kind, (1, 4, 9, 7), real=True)
        scales = [scale(rng, s) for _ in range(8)]
        limits = np.iinfo(weight_kind)
        low, high = limits.min, limits.max + 1
        if weight_kind is np.int8:
            low, high = -LARGEST_WEIGHT, LARGEST_WEIGHT
        weights = rng.integers(low, high, (8, 4 // group, 3, 2)).astype(weight_kind)
        zero = 0 if weight_kind is np.int8 else zero_point(rng, weight_kind)
        b.weights("w", weights, np.array(scales, np.float32), zero)
        bias = rng.integers(-4000, 4000, 8).astype(np.int32)
        b.weights("b", bias, np.float32(s) * np.array(scales, np.float32))
        pads = [1, 0, 1, 1] if padded else [0, 0, 0, 0]
        b.node("Conv", ["x_dq", "w_dq", "b_dq"], "y", group=group, pads=pads)
        return end(b, rng, kind, 0.0, True)

    return make


def matmul(per_column: bool, made: bool) -> Callable[[Draw, type], bytes]:
    def make(rng: Draw, kind: type) -> bytes:
        if made:
            b, s = start(rng, kind, (3, 8, 8), "xz", True)
            b.node("MatMul", ["x_dq", "z_dq"], "y")
            return end(b, rng, kind, s, True)
        b, s = start(rng, kind, (16, 24), real=True)
        weights = rng.integers(-LARGEST_WEIGHT, LARGEST_WEIGHT, (24, 10)).astype(np.int8)
        scales = np.array([scale(rng, s) for _ in range(10)], np.float32)
        b.weights("w", weights, scales if per_column else scales[0], 0, axis=1)
        b.node("MatMul", ["x_dq", "w_dq"], "y")
        return end(b, rng, kind, 0.0, True)

    return make


_UNARY = ("Sigmoid", "Tanh", "HardSwish", "Abs", "Neg", "Exp", "Relu", "GlobalAveragePool")
EIGHT_BITS: dict[str, Callable[[Draw, type], bytes]] = {
    **{name: unary(name) for name in _UNARY},
    "LeakyRelu": unary("LeakyRelu", alpha=0.3),
    "HardSigmoid": unary("HardSigmoid", alpha=0.3, beta=0.4),
    "MaxPool": unary("MaxPool", kernel_shape=[3, 2], strides=[2, 1]),
    **{name: binary(name) for name in ("Add", "Sub", "Mul")},
    "PRelu": binary("PRelu", (3, 1, 1)),
    "Add broadcast": binary("Add", (64,)),
    "Mul broadcast": binary("Mul", (1, 3, 1, 1)),
    "Add clamped": clamped("Add"), "Mul clamped": clamped("Mul"), "Sub clamped": clamped("Sub"),
    "QLinearAdd": microsoft("QLinearAdd"), "QLinearMul": microsoft("QLinearMul"),
    "AveragePool": pool(kernel_shape=[3, 2], strides=[2, 1]),
    "AveragePool padded": pool(kernel_shape=[3, 3], pads=[1, 1, 0, 1]),
    "AveragePool counting": pool(kernel_shape=[2, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    "AveragePool whole": pool(kernel_shape=[11, 9]),
    "Softmax": softmax, "Concat": concat,
    "ReduceMean image": mean([2, 3], 1), "ReduceMean last": mean([3], 0),
    "ReduceMean first": mean([1], 1), "ReduceMean all": mean([1, 2, 3], 0),
    **{f"Resize {m} {c}": resize(m, c) for m in ("nearest", "linear")
       for c in ("half_pixel", "asymmetric", "align_corners")},
    "Conv": conv(1, True), "Conv grouped": conv(2, False), "Conv depthwise": conv(4, True),
    "MatMul": matmul(False, False), "MatMul per column": matmul(True, False),
    "MatMul of two": matmul(False, True),
}  # fmt: skip
SIXTEEN_BITS = ("Add", "Sub", "Mul", "Sigmoid", "Tanh", "HardSwish", "Exp", "Add clamped")


def run(tmp_path: Path, name: str, kind: type) -> None:
    elements = 0
    for case in range(CASES):
        rng = np.random.default_rng([case, *name.encode()])
        content = EIGHT_BITS[name](rng, kind)
        found = compared(tmp_path, content, 6, seed=case, naive=case == 0)
        assert not found.different, (name, kind, case, found)
        elements += found.elements
    assert elements


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("name", EIGHT_BITS)
def test_equals_the_runtime(tmp_path: Path, name: str, kind: type) -> None:
    run(tmp_path, name, kind)


@pytest.mark.parametrize("kind", [np.int16, np.uint16])
@pytest.mark.parametrize("name", SIXTEEN_BITS)
def test_sixteen_bits_equal_the_runtime(tmp_path: Path, name: str, kind: type) -> None:
    run(tmp_path, name, kind)


def test_unsigned_weights_with_a_zero_point(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    found = compared(tmp_path, conv(1, True, np.uint8)(rng, np.uint8), 4)
    assert not found.different


def off_by_one_unit(content: bytes, name: str) -> bytes:
    """The model with constant ``name`` moved to the next float32."""
    model = onnx.load_model_from_string(content)
    (tensor,) = (t for t in model.graph.initializer if t.name == name)
    value = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.nextafter(value, np.float32(9)), name))
    return model.SerializeToString()


@pytest.mark.parametrize(
    "name", ["Add", "Sub", "Mul", "QLinearAdd", "QLinearMul", "Concat", "AveragePool", "PRelu"]
)
def test_a_unit_of_a_scale_shows(tmp_path: Path, name: str) -> None:
    # The draws above must be able to tell a scale from its neighbour: the runtime with the neighbour in
    # its file gives other codes somewhere.
    for case in range(_DRAWS):
        content = EIGHT_BITS[name](np.random.default_rng([case, *name.encode()]), np.uint8)
        graph = read_onnx(content, "model")
        feed = random_inputs(graph, 6, case)
        machine = Machine(compile_graph(graph, small_device()))
        (output,) = graph.outputs
        ours = machine.run(feed).outputs[output]
        path = tmp_path / "other.onnx"
        path.write_bytes(off_by_one_unit(content, "y_scale"))
        runtime = open_runtime(path)
        tensor = graph.tensors[output]
        for sample in range(6):
            given = {str(graph.tensors[n].key): v[sample] for n, v in feed.items()}
            theirs = runtime.run(given, [str(tensor.key)])[str(tensor.key)]
            if (theirs.reshape(-1) != ours[sample].reshape(-1)).any():
                return
    pytest.fail(f"no code changed in {_DRAWS} draws")
