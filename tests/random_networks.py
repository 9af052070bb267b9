"""Random networks of several operators: branches, residual sums, second names, dead ends."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from random_layers import SAMPLES, Layer, Rng, codes, scale, zero_point
from tflite_builder import Op, Tensor, build_model


class Network:
    """A model being put together; ``made`` are tensors that later operators may read."""

    def __init__(self, rng: Rng, code: str) -> None:
        self.rng, self.code = rng, code
        size = [int(s) for s in rng.integers(4, 12, 2)]
        self.tensors = [self._tensor("x", (1, *size, int(rng.integers(1, 9))))]
        self.made = list(self.tensors)
        self.ops: list[Op] = []

    def _tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return Tensor(
            name, shape, self.code, scale(self.rng, 0.02, 0.1), zero_point(self.rng, self.code)
        )

    def output(self, shape: tuple[int, ...], like: Tensor | None = None) -> Tensor:
        """A new tensor, with the quantization of ``like``."""
        tensor = self._tensor(f"t{len(self.tensors)}", shape)
        if like is not None:
            tensor = Tensor(tensor.name, shape, self.code, like.scale, like.zero_point)
        self.tensors.append(tensor)
        self.made.append(tensor)
        return tensor

    def constant(self, values: np.ndarray, dtype: str, scale: float | None = None) -> str:
        name = f"c{len(self.tensors)}"
        point = zero_point(self.rng, "u8") if dtype == "u8" else 0
        self.tensors.append(Tensor(name, values.shape, dtype, scale, point, values))
        return name

    def any_tensor(self) -> Tensor:
        """Mostly the newest, sometimes an earlier one."""
        return (
            self.made[-1] if self.rng.integers(3) else self.made[self.rng.integers(len(self.made))]
        )


def _weights(net: Network, x: Tensor, shape: tuple[int, ...], channels: int) -> list[str]:
    """Weights and a bias of zeros; the scale keeps the outputs' spread that of the inputs."""
    terms = int(np.prod(shape)) // channels
    s_w = np.float32(0.02 / np.sqrt(terms))
    w = net.constant(codes(net.rng, net.code, *shape), net.code, float(s_w))
    assert isinstance(x.scale, np.floating)
    bias = net.constant(np.zeros(channels, np.int32), "i32", float(x.scale * s_w))
    return [x.name, w, bias]


def _conv(net: Network) -> None:
    x, n = net.any_tensor(), int(net.rng.integers(1, 12))
    kernel, stride = int(net.rng.integers(1, 4)), int(net.rng.integers(1, 3))
    inputs = _weights(net, x, (n, kernel, kernel, x.shape[3]), n)
    y = net.output((1, -(-x.shape[1] // stride), -(-x.shape[2] // stride), n))
    options = {
        "Padding": 0, "StrideH": stride, "StrideW": stride, "DilationHFactor": 1,
        "DilationWFactor": 1,
    }  # fmt: skip
    net.ops.append(Op("CONV_2D", inputs, y.name, options))


def _depthwise(net: Network) -> None:
    x = net.any_tensor()
    c = x.shape[3]
    y_shape = tuple(x.shape)
    inputs = _weights(net, x, (1, 3, 3, c), c)
    options = {
        "Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1,
        "DepthMultiplier": 1,
    }  # fmt: skip
    net.ops.append(Op("DEPTHWISE_CONV_2D", inputs, net.output(y_shape).name, options))


def _add(net: Network) -> None:
    x = net.any_tensor()
    others = [t for t in net.made if tuple(t.shape) == tuple(x.shape)]
    z = others[net.rng.integers(len(others))]
    net.ops.append(Op("ADD", [x.name, z.name], net.output(tuple(x.shape)).name))


def _pool(net: Network) -> None:
    x = net.any_tensor()
    y = net.output((1, -(-x.shape[1] // 2), -(-x.shape[2] // 2), x.shape[3]), like=x)
    options = {"Padding": 0, "StrideH": 2, "StrideW": 2, "FilterHeight": 3, "FilterWidth": 2}
    kind = ("AVERAGE_POOL_2D", "MAX_POOL_2D")[net.rng.integers(2)]
    net.ops.append(Op(kind, [x.name], y.name, options))


def _relu(net: Network) -> None:
    x = net.any_tensor()
    same = x if net.rng.integers(2) else None
    kind = ("RELU", "RELU6", "QUANTIZE")[net.rng.integers(3)]
    net.ops.append(Op(kind, [x.name], net.output(tuple(x.shape), like=same).name))


def _pad(net: Network) -> None:
    x, amounts = net.any_tensor(), net.rng.integers(0, 2, (4, 2)).astype(np.int32)
    amounts[0] = 0
    shape = tuple(int(s + a.sum()) for s, a in zip(x.shape, amounts, strict=True))
    inputs = [x.name, net.constant(amounts, "i32")]
    net.ops.append(Op("PAD", inputs, net.output(shape, like=x).name))


def _reshape(net: Network) -> None:
    x = net.any_tensor()
    b, h, w, c = x.shape
    y = net.output((b, w, h, c), like=x)
    inputs = [x.name, net.constant(np.array(y.shape, np.int32), "i32")]
    net.ops.append(Op("RESHAPE", inputs, y.name, {"NewShape": list(y.shape)}))


def _head(net: Network) -> None:
    """Classifier: fully connected, then softmax."""
    x = net.made[-1]
    k, n = int(np.prod(x.shape)), int(net.rng.integers(2, 12))
    y = net.output((1, n))
    net.ops.append(Op("FULLY_CONNECTED", _weights(net, x, (n, k), n), y.name))
    z = Tensor("p", (1, n), net.code, 1 / 256, -128 if net.code == "i8" else 0)
    net.tensors.append(z)
    net.made.append(z)
    net.ops.append(Op("SOFTMAX", [y.name], z.name, {"Beta": 1.0}))


STEPS: tuple[Callable[[Network], None], ...] = (
    _conv, _conv, _depthwise, _add, _add, _pool, _relu, _pad, _reshape,
)  # fmt: skip


def random_network(rng: Rng) -> Layer:
    """Two to ten operators; the last tensor and perhaps others are outputs, some lead nowhere."""
    net = Network(rng, ("i8", "u8")[rng.integers(2)])
    for _ in range(int(rng.integers(2, 11))):
        STEPS[rng.integers(len(STEPS))](net)
    if rng.integers(2):
        _head(net)
    outputs = [net.made[-1].name]
    middle = net.made[rng.integers(1, len(net.made))].name
    if rng.integers(3) == 0 and middle not in outputs:
        outputs.append(middle)
    content = build_model(net.tensors, net.ops, ["x"], outputs)
    x = codes(rng, net.code, SAMPLES, *net.tensors[0].shape)
    return Layer(content, {"x": x})
