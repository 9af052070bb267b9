"""Whole quantized ONNX graphs as a hypothesis strategy: chains and branches of operators, each between
quantizers as tools write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from drawn import Shown, drawn_rng
from hypothesis import assume
from hypothesis import strategies as st
from onnx_builder import OnnxBuilder
from onnx_compare import LARGEST_WEIGHT
from random_devices import compile_tightly

from simulator.errors import ModelError
from simulator.graph import Graph
from simulator.graph.text import print_graph
from simulator.importers.onnx import read_onnx
from simulator.program.program import Program

Rng = np.random.Generator
_KINDS: tuple[Any, ...] = (np.uint8, np.int8)
_MOST_STEPS = 4
_SAMPLES = 2


@dataclass(frozen=True)
class OnnxCase(Shown):
    """A file, its graph on a device, and inputs."""

    steps: tuple[str, ...]
    content: bytes
    graph: Graph
    program: Program
    inputs: dict[str, np.ndarray]

    def __str__(self) -> str:
        return f"steps {', '.join(self.steps)}\n{print_graph(self.graph).rstrip()}"


@dataclass(frozen=True)
class Made:
    """A tensor of numbers that were codes, NCHW or rows."""

    name: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int


class Network:
    """A file being put together; ``made`` are what later operators may read."""

    def __init__(self, rng: Rng) -> None:
        self.rng, self.b = rng, OnnxBuilder(21)
        self.kind, self.count = (
            _KINDS[rng.integers(2)],
            0,
        )  # one for all activations, as tools write it
        self.made: list[Made] = []
        self.inputs: dict[str, np.ndarray] = {}

    def name(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def scale(self, like: float = 0.0) -> float:
        """Mostly in a simple ratio to ``like``, where ties are."""
        if like and self.rng.integers(4):
            ratio = (0.5, 1.0, 1.5, 2.0, 3.0)[self.rng.integers(5)]
            return float(np.float32(like * ratio))
        return float(np.float32(np.exp(self.rng.uniform(-4.0, -1.0))))

    def closed(self, name: str, shape: tuple[int, ...], like: float) -> Made:
        """``name`` quantized, and the numbers that those codes are."""
        scale, low = self.scale(like), int(np.iinfo(self.kind).min)
        point = low + (0, 128, 255, int(self.rng.integers(256)))[self.rng.integers(4)]
        return self.add(Made(self.b.qdq(name, scale, point, self.kind), shape, scale, point))

    def moved(self, name: str, shape: tuple[int, ...], x: Made) -> Made:
        """The same with the quantization of ``x``, as tools write it of what only moves codes."""
        made = self.b.qdq(name, x.scale, x.zero_point, self.kind)
        return self.add(replace(x, name=made, shape=shape))

    def add(self, made: Made) -> Made:
        self.made.append(made)
        return made

    def input(self, shape: tuple[int, ...]) -> Made:
        name = self.b.input(self.name(), shape)
        made = self.closed(name, shape, 0.0)
        spread = 60 * made.scale
        self.inputs[name] = self.rng.normal(0.0, spread, (_SAMPLES, *shape)).astype(np.float32)
        return made

    def taken(self, rank: int) -> Made:
        """Mostly the newest tensor of that rank, or a new input."""
        known = [m for m in self.made if len(m.shape) == rank]
        if not known:
            sizes = (1, *(int(n) for n in self.rng.integers(1, 8, 3)))
            return self.input(sizes if rank == 4 else (sizes[1], 3 * sizes[2]))
        return known[self.rng.integers(len(known))] if self.rng.integers(4) == 0 else known[-1]

    def weights(self, shape: tuple[int, ...], axis: int, channels: int) -> tuple[str, np.ndarray]:
        name = self.name()
        scales = [self.scale() / 16 for _ in range(channels if self.rng.integers(2) else 1)]
        codes = self.rng.integers(-LARGEST_WEIGHT, LARGEST_WEIGHT, shape).astype(np.int8)
        stated = np.array(scales if len(scales) > 1 else scales[0], np.float32)
        return self.b.weights(name, codes, stated, 0, axis), np.array(scales, np.float32)

    def bias(self, x: Made, scales: np.ndarray, channels: int) -> list[str]:
        if self.rng.integers(4) == 0:
            return []
        codes = self.rng.integers(-3000, 3000, channels).astype(np.int32)
        stated = np.float32(x.scale) * scales
        return [self.b.weights(self.name(), codes, stated if stated.size > 1 else stated[0])]

    def activated(self, name: str) -> str:
        step = self.rng.integers(4)
        if step == 0:
            return self.b.node("Relu", [name], self.name())
        if step == 1:
            low, high = self.name(), self.name()
            self.b.constant(low, np.float32(0))
            self.b.constant(high, np.float32(6))
            return self.b.node("Clip", [name, low, high], self.name())
        return name


def convolution(net: Network) -> None:
    rng, x = net.rng, net.taken(4)
    channels = x.shape[1]
    style = int(rng.integers(3))  # plain, grouped, depthwise
    groups = (1, 2 if channels % 2 == 0 else 1, channels)[style]
    out = groups * int(rng.integers(1, 5))
    kernel = [int(rng.integers(1, min(4, size) + 1)) for size in x.shape[2:]]
    pads = [int(rng.integers(0, k)) for k in (*kernel, *kernel)]
    strides = [int(rng.integers(1, 3)) for _ in range(2)]
    weights, scales = net.weights((out, channels // groups, *kernel), 0, out)
    inputs = [x.name, weights, *net.bias(x, scales, out)]
    attrs = {"pads": pads, "strides": strides, "group": groups}
    y = net.b.node("Conv", inputs, net.name(), **attrs)
    sizes = [
        (x.shape[2 + d] + pads[d] + pads[2 + d] - kernel[d]) // strides[d] + 1 for d in range(2)
    ]
    net.closed(net.activated(y), (1, out, *sizes), 0.0)


def matrix(net: Network) -> None:
    rng, x = net.rng, net.taken(2)
    (rows, k), n = x.shape, int(rng.integers(1, 12))
    if rng.integers(2):
        weights, scales = net.weights((n, k), 0, n)
        inputs = [x.name, weights, *net.bias(x, scales, n)]
        y = net.b.node("Gemm", inputs, net.name(), transB=1)
    else:
        weights, _ = net.weights((k, n), 1, n)
        y = net.b.node("MatMul", [x.name, weights], net.name())
    net.closed(net.activated(y), (rows, n), 0.0)


def joined(operator: str) -> Callable[[Network], None]:
    """Two tensors of one shape, or one and a row of the other's channels."""

    def step(net: Network) -> None:
        x = net.taken(4 if net.rng.integers(2) else 2)
        same = [m for m in net.made if m.shape == x.shape]
        z = same[net.rng.integers(len(same))] if net.rng.integers(3) else net.input(x.shape)
        y = net.b.node(operator, [x.name, z.name], net.name())
        like = x.scale * z.scale * 32 if operator == "Mul" else x.scale
        net.closed(net.activated(y), x.shape, like)

    return step


def single(operator: str, **attrs: Any) -> Callable[[Network], None]:
    def step(net: Network) -> None:
        x = net.taken(4 if net.rng.integers(2) else 2)
        net.closed(net.b.node(operator, [x.name], net.name(), **attrs), x.shape, x.scale)

    return step


def pool(operator: str) -> Callable[[Network], None]:
    def step(net: Network) -> None:
        x = net.taken(4)
        kernel = [int(net.rng.integers(1, min(4, size) + 1)) for size in x.shape[2:]]
        strides = [int(net.rng.integers(1, 3)) for _ in range(2)]
        y = net.b.node(operator, [x.name], net.name(), kernel_shape=kernel, strides=strides)
        sizes = [(x.shape[2 + d] - kernel[d]) // strides[d] + 1 for d in range(2)]
        shape = (1, x.shape[1], *sizes)
        if operator == "MaxPool":
            net.moved(y, shape, x)
        else:
            net.closed(y, shape, x.scale)

    return step


def whole(net: Network) -> None:
    x = net.taken(4)
    net.closed(
        net.b.node("GlobalAveragePool", [x.name], net.name()), (1, x.shape[1], 1, 1), x.scale
    )


def softmax(net: Network) -> None:
    x = net.taken(2)
    net.closed(net.b.node("Softmax", [x.name], net.name(), axis=-1), x.shape, 1 / 256)


def flatten(net: Network) -> None:
    x = net.taken(4)
    y = net.b.node("Flatten", [x.name], net.name())
    net.moved(y, (1, int(np.prod(x.shape))), x)


def turned(net: Network) -> None:
    x = net.taken(4)
    y = net.b.node("Transpose", [x.name], net.name(), perm=[0, 1, 3, 2])
    net.moved(y, (1, x.shape[1], x.shape[3], x.shape[2]), x)


def concatenation(net: Network) -> None:
    x = net.taken(4)
    known = [m for m in net.made if len(m.shape) == 4 and m.shape[2:] == x.shape[2:]]
    z = known[net.rng.integers(len(known))]
    y = net.b.node("Concat", [x.name, z.name], net.name(), axis=1)
    net.closed(y, (1, x.shape[1] + z.shape[1], *x.shape[2:]), x.scale)


def resized(net: Network) -> None:
    x = net.taken(4)
    sizes = [1, x.shape[1], *(int(n) for n in net.rng.integers(1, 10, 2))]
    places = ("half_pixel", "asymmetric", "align_corners")[net.rng.integers(3)]
    mode = ("nearest", "linear")[net.rng.integers(2)]
    said = net.b.constant(net.name(), np.array(sizes, np.int64))
    attrs = {"mode": mode, "coordinate_transformation_mode": places}
    y = net.b.node("Resize", [x.name, "", "", said], net.name(), **attrs)
    if mode == "nearest":
        net.moved(y, tuple(sizes), x)
    else:
        net.closed(y, tuple(sizes), x.scale)


STEPS: dict[str, Callable[[Network], None]] = {
    "Conv": convolution, "matrix": matrix, "Flatten": flatten, "Transpose": turned,
    "Concat": concatenation, "Resize": resized, "Softmax": softmax, "GlobalAveragePool": whole,
    **{name: joined(name) for name in ("Add", "Sub", "Mul")},
    **{name: pool(name) for name in ("AveragePool", "MaxPool")},
    **{name: single(name) for name in ("Sigmoid", "Tanh", "HardSwish", "Relu", "Abs", "Neg")},
    "LeakyRelu": single("LeakyRelu", alpha=0.25),
}  # fmt: skip


@st.composite
def onnx_graphs(draw: st.DrawFn, centre: str) -> OnnxCase:
    """Step ``centre`` with others before and after it; shapes, types, scales and the device are choices."""
    others = st.lists(st.sampled_from(tuple(STEPS)), max_size=_MOST_STEPS)
    steps = (*draw(others), centre, *draw(others))
    rng = drawn_rng(draw)
    net = Network(rng)
    for step in steps:
        STEPS[step](net)
    content = finished(net)
    try:
        graph = read_onnx(content, "graph")
    except ModelError as error:
        # What the runtime itself gets wrong.
        assume("whose codes are then no softmax" not in str(error))
        raise
    return OnnxCase(steps, content, graph, compile_tightly(rng, graph), net.inputs)


def finished(net: Network) -> bytes:
    """The file; what nothing reads is an output."""
    read = {name for node in net.b.nodes for name in node.input}
    for made in net.made:
        if made.name not in read:
            net.b.output(made.name)
    return net.b.write()
