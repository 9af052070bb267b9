"""Random networks of several operators: branches, residual sums, second names, dead ends, variables.

A step adds an operator or two. Steps of ``STEPS`` take an image as it is; :meth:`Network.join` adds any
layer of ``random_layers``, with operators between that bring earlier tensors to its inputs' shapes and
quantization.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from random_layers import SAMPLES, Layer, Rng, codes, scale, zero_point
from tflite_builder import Op, Tensor, variable

F32 = np.float32
CODES = ("i8", "u8", "i16")
# Quantization of a probability and of an output of SOFTMAX.
_PROBABILITIES = {"i8": (1 / 256, -128), "u8": (1 / 256, 0), "i16": (1 / 32768, 0)}


class Network:
    """A model being put together; ``made`` are tensors that later operators may read."""

    def __init__(self, rng: Rng, code: str) -> None:
        self.rng, self.code = rng, code
        self.tensors: list[Tensor] = []
        self.made: list[Tensor] = []
        self.ops: list[Op] = []
        self.inputs: dict[str, np.ndarray] = {}
        self.first_values: dict[str, np.ndarray] = {}

    def add(self, tensor: Tensor, *, made: bool = False) -> Tensor:
        self.tensors.append(tensor)
        if made:
            self.made.append(tensor)
        return tensor

    def output(self, shape: tuple[int, ...], like: Tensor | None = None) -> Tensor:
        """A new tensor of the network's type, with the quantization of ``like``."""
        name = f"t{len(self.tensors)}"
        if like is not None:
            return self.add(replace(like, name=name, shape=shape, data=None), made=True)
        wide = self.code == "i16"
        s = F32(scale(self.rng, 0.02, 0.1) / (256 if wide else 1))
        point = 0 if wide else zero_point(self.rng, self.code)
        return self.add(Tensor(name, shape, self.code, s, point), made=True)

    def constant(
        self, values: np.ndarray, dtype: str, scale: float | None = None, point: int = 0
    ) -> str:
        name = f"c{len(self.tensors)}"
        return self.add(Tensor(name, values.shape, dtype, scale, point, values)).name

    def op(
        self, kind: str, inputs: list[str], output: Tensor, version: int | None = None, **options: Any
    ) -> Tensor:  # fmt: skip
        self.ops.append(Op(kind, inputs, output.name, options, version=version))
        return output

    def image(self) -> Tensor:
        """Mostly the newest image of the network's type, sometimes an earlier one, or a new input."""
        images = [t for t in self.made if len(t.shape) == 4 and t.dtype == self.code]
        if not images:
            sizes = (
                1,
                *(int(s) for s in self.rng.integers(4, 12, 2)),
                int(self.rng.integers(1, 9)),
            )
            images = [self.output(sizes)]
            self.inputs[images[0].name] = codes(self.rng, self.code, SAMPLES, *sizes)
        return images[self.rng.integers(len(images))] if self.rng.integers(3) == 2 else images[-1]

    def join(self, layer: Layer) -> None:
        """Add ``layer``; an input is an earlier tensor, brought into its form, or one of the graph."""
        place = f"{len(self.ops)}."
        named = {"": ""}
        for tensor in layer.tensors:
            values = layer.inputs.get(tensor.name)
            source = None
            if values is not None and tensor.name not in layer.bounded:
                source = self._source(tensor)
            if source is not None:
                named[tensor.name] = self._brought(source, tensor).name
                continue
            own = replace(tensor, name=f"{place}{tensor.name}")
            named[tensor.name] = self.add(own, made=tensor.name in layer.outputs).name
            if values is not None:
                self.inputs[own.name] = values[:SAMPLES]
        for op in layer.ops:
            self.ops.append(
                replace(
                    op, inputs=[named[n] for n in op.inputs], output=named[op.output],
                    more_outputs=[named[n] for n in op.more_outputs],
                    intermediates=[named[n] for n in op.intermediates],
                )
            )  # fmt: skip

    def _source(self, want: Tensor) -> Tensor | None:
        """An earlier tensor that can be brought into the form of ``want``, where one is wanted."""
        coded = want.scale is not None or want.dtype == "f32"
        kinds = CODES if coded and want.dtype != "i32" else (want.dtype,)
        found = [t for t in self.made if t.dtype in kinds and (t.scale is not None) == coded]
        single = len(want.shape) > 0 and np.size(np.asarray(want.scale)) <= 1
        if not (found and single) or self.rng.integers(5) == 0:
            return None
        return found[self.rng.integers(len(found))]

    def _brought(self, source: Tensor, want: Tensor) -> Tensor:
        """``source`` with the shape, type and quantization of ``want``; elements are cut or repeated."""
        shape, size = tuple(want.shape), int(np.prod(source.shape))
        if int(np.prod(shape)) == size and shape != tuple(source.shape):
            source = self.reshaped(source, shape)
        elif shape != tuple(source.shape):
            flat = self.reshaped(source, (size,))
            places = (np.arange(np.prod(shape)) % size).reshape(shape).astype(np.int32)
            made = self.output(shape, like=source)
            source = self.op("GATHER", [flat.name, self.constant(places, "i32")], made, Axis=0)
        if want.dtype == "f32":
            made = self.add(Tensor(f"t{len(self.tensors)}", shape, "f32"))
            return self.op("DEQUANTIZE", [source.name], made)
        form = (
            want.dtype,
            None if want.scale is None else F32(np.asarray(want.scale)),
            want.zero_point,
        )
        if {source.dtype, want.dtype} == {"u8", "i16"}:  # which QUANTIZE does not join
            source = self._quantized(source, shape, ("i8", form[1], 0))
        if (source.dtype, source.scale, source.zero_point) == form:
            return source
        return self._quantized(source, shape, form)

    def _quantized(
        self, source: Tensor, shape: tuple[int, ...], form: tuple[str, Any, int]
    ) -> Tensor:
        made = self.add(Tensor(f"t{len(self.tensors)}", shape, *form), made=True)
        return self.op("QUANTIZE", [source.name], made)

    def reshaped(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        said = self.constant(np.array(shape, np.int32), "i32")
        y = self.output(shape, like=x)
        return self.op("RESHAPE", [x.name, said], y, NewShape=list(shape))

    def finished(self, outputs: list[str]) -> Layer:
        return Layer(self.tensors, self.ops, self.inputs, outputs, first_values=self.first_values)


def _weights(net: Network, x: Tensor, shape: tuple[int, ...], channels: int) -> list[str]:
    """Weights and a bias of zeros; the scale keeps the outputs' spread that of the inputs."""
    terms = int(np.prod(shape)) // channels
    s_w = F32(0.02 / np.sqrt(terms))
    kind = "u8" if net.code == "u8" else "i8"
    if net.code == "i8" and net.rng.integers(6) == 5:
        kind, s_w = "i4", F32(16 * s_w)
    point = zero_point(net.rng, "u8") if kind == "u8" else 0
    w = net.constant(codes(net.rng, kind, *shape), kind, float(s_w), point)
    wide = net.code == "i16"
    zeros = np.zeros(channels, np.int64 if wide else np.int32)
    assert isinstance(x.scale, np.floating)
    return [x.name, w, net.constant(zeros, "i64" if wide else "i32", float(x.scale * s_w))]


def _conv(net: Network) -> None:
    x, n = net.image(), int(net.rng.integers(1, 12))
    kernel, stride = int(net.rng.integers(1, 4)), int(net.rng.integers(1, 3))
    inputs = _weights(net, x, (n, kernel, kernel, x.shape[3]), n)
    y = net.output((x.shape[0], -(-x.shape[1] // stride), -(-x.shape[2] // stride), n))
    net.op(
        "CONV_2D", inputs, y, Padding=0, StrideH=stride, StrideW=stride, DilationHFactor=1,
        DilationWFactor=1,
    )  # fmt: skip


def _depthwise(net: Network) -> None:
    x = net.image()
    inputs = _weights(net, x, (1, 3, 3, x.shape[3]), x.shape[3])
    net.op(
        "DEPTHWISE_CONV_2D", inputs, net.output(tuple(x.shape)), Padding=0, StrideH=1, StrideW=1,
        DilationHFactor=1, DilationWFactor=1, DepthMultiplier=1,
    )  # fmt: skip


def _binary(kind: str) -> Callable[[Network], None]:
    def step(net: Network) -> None:
        x = net.image()
        alike = [t for t in net.made if tuple(t.shape) == tuple(x.shape) and t.dtype == net.code]
        z = alike[net.rng.integers(len(alike))]
        options = {"PotScaleInt16": False} if net.code == "i16" and kind != "MUL" else {}
        net.op(kind, [x.name, z.name], net.output(tuple(x.shape)), **options)

    return step


def _pool(net: Network) -> None:
    x = net.image()
    b, h, w, c = x.shape
    kind = ("AVERAGE_POOL_2D", "MAX_POOL_2D")[net.rng.integers(2)]
    net.op(
        kind, [x.name], net.output((b, -(-h // 2), -(-w // 2), c), like=x),
        3 if net.code == "i16" else None, Padding=0, StrideH=2, StrideW=2, FilterHeight=3,
        FilterWidth=2,
    )  # fmt: skip


def _relu(net: Network) -> None:
    x = net.image()
    same = x if net.rng.integers(2) else None
    kind = ("RELU", "RELU6", "QUANTIZE")[net.rng.integers(3)]
    net.op(kind, [x.name], net.output(tuple(x.shape), like=same))


def _pad(net: Network) -> None:
    x, amounts = net.image(), net.rng.integers(0, 2, (4, 2)).astype(np.int32)
    amounts[0] = 0
    shape = tuple(int(s + a.sum()) for s, a in zip(x.shape, amounts, strict=True))
    net.op("PAD", [x.name, net.constant(amounts, "i32")], net.output(shape, like=x))


def _reshape(net: Network) -> None:
    x = net.image()
    b, h, w, c = x.shape
    net.reshaped(x, (b, w, h, c))


def _concatenation(net: Network) -> None:
    x = net.image()
    y = net.output((*x.shape[:3], 2 * x.shape[3]), like=x)
    net.op("CONCATENATION", [x.name, x.name], y, Axis=3)


def _logistic(net: Network) -> None:
    x = net.image()
    s, point = _PROBABILITIES[net.code]
    y = Tensor(f"t{len(net.tensors)}", x.shape, net.code, F32(s), point)
    net.op("LOGISTIC", [x.name], net.add(y, made=True))


def _transpose(net: Network) -> None:
    x = net.image()
    perm = np.array([0, *(1 + net.rng.permutation(3))], np.int32)
    y = net.output(tuple(x.shape[i] for i in perm), like=x)
    net.op("TRANSPOSE", [x.name, net.constant(perm, "i32")], y)


def _slice(net: Network) -> None:
    x = net.image()
    begin = np.array([int(net.rng.integers(0, s)) for s in x.shape], np.int32)
    size = np.array([s - b for s, b in zip(x.shape, begin, strict=True)], np.int32)
    said = [net.constant(begin, "i32"), net.constant(size, "i32")]
    net.op("SLICE", [x.name, *said], net.output(tuple(int(s) for s in size), like=x))


def _mean(net: Network) -> None:
    x = net.image()
    axes = net.constant(np.array([1, 2], np.int32), "i32")
    net.op("MEAN", [x.name, axes], net.output((x.shape[0], 1, 1, x.shape[3])), KeepDims=True)


def _head(net: Network) -> None:
    """Classifier: fully connected, then softmax."""
    x = net.image()
    k, n = int(np.prod(x.shape)), int(net.rng.integers(2, 12))
    y = net.op("FULLY_CONNECTED", _weights(net, x, (n, k), n), net.output((1, n)))
    s, point = _PROBABILITIES[net.code]
    z = net.add(Tensor(f"t{len(net.tensors)}", (1, n), net.code, F32(s), point), made=True)
    net.op("SOFTMAX", [y.name], z, 3 if net.code == "i16" else None, Beta=1.0)


def _variable(net: Network) -> None:
    """A sum that goes on from one inference to the next."""
    x = net.image()
    handle = net.add(Tensor(f"v{len(net.tensors)}", (1,), "resource")).name
    net.first_values[handle] = codes(net.rng, net.code, *x.shape)
    net.ops.append(variable(handle))
    before = net.op("READ_VARIABLE", [handle], net.output(tuple(x.shape), like=x))
    options = {"PotScaleInt16": False} if net.code == "i16" else {}
    y = net.op("ADD", [before.name, x.name], net.output(tuple(x.shape), like=x), **options)
    net.ops.append(Op("ASSIGN_VARIABLE", [handle, y.name], ""))


STEPS: dict[str, Callable[[Network], None]] = {
    "conv": _conv, "depthwise": _depthwise, "sum": _binary("ADD"), "pool": _pool, "relu": _relu,
    "pad": _pad, "reshape": _reshape, "difference": _binary("SUB"), "product": _binary("MUL"),
    "concatenation": _concatenation, "logistic": _logistic, "transpose": _transpose,
    "slice": _slice, "mean": _mean, "variable": _variable, "head": _head,
}  # fmt: skip
_USUAL = ("conv", "conv", "depthwise", "sum", "sum", "pool", "relu", "pad", "reshape")


def random_network(rng: Rng) -> Layer:
    """Two to ten operators; the last tensor and perhaps others are outputs, some lead nowhere."""
    net = Network(rng, ("i8", "u8")[rng.integers(2)])
    for _ in range(int(rng.integers(2, 11))):
        STEPS[_USUAL[rng.integers(len(_USUAL))]](net)
    if rng.integers(2):
        _head(net)
    outputs = [net.made[-1].name]
    middle = net.made[rng.integers(1, len(net.made))].name
    if rng.integers(3) == 0 and middle not in outputs:
        outputs.append(middle)
    return net.finished(outputs)
