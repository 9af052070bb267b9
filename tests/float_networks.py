"""Small float networks as ``.onnx`` files, with all that quantizing has to deal with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx_builder import OnnxBuilder

CLASSES, CHANNELS, SIZE = 5, 3, 9


class _Net:
    """A network in the making; every layer is named after its output."""

    def __init__(self, seed: int) -> None:
        self.b = OnnxBuilder()
        self.random = np.random.default_rng(seed)

    def numbers(self, name: str, values: Any) -> str:
        return self.b.constant(name, np.asarray(values, np.float32))

    def conv(self, x: str, name: str, out: int, given: int, **attrs: Any) -> str:
        group, kernel = attrs.get("group", 1), attrs.get("kernel_shape", [3, 3])
        shape = (out, given // group, *kernel)
        spread = np.exp(self.random.normal(0, 0.7, (out, 1, 1, 1)))
        w = self.random.normal(0, 1, shape) * spread / np.sqrt(np.prod(shape[1:]))
        bias = self.random.normal(0, 0.2, out)
        inputs = [x, self.numbers(f"{name}_w", w), self.numbers(f"{name}_b", bias)]
        return self.b.node("Conv", inputs, name, **{"kernel_shape": kernel, **attrs})

    def norm(self, x: str, name: str, channels: int) -> str:
        values = {
            "gain": self.random.uniform(0.5, 2, channels), "beta": self.random.normal(0, 0.3, channels),
            "mean": self.random.normal(0, 0.3, channels), "var": self.random.uniform(0.3, 2, channels),
        }  # fmt: skip
        given = [self.numbers(f"{name}_{key}", v) for key, v in values.items()]
        return self.b.node("BatchNormalization", [x, *given], name, epsilon=1e-3)


def write_network(path: Path, seed: int = 0, six: bool = False, *, padding: bool = True) -> Path:
    """A residual network of convolutions of every kind; ``six``: ReLU6 in place of ReLU; ``padding``: as an
    operator of its own, too."""
    net = _Net(seed)
    b = net.b

    def relu(x: str, name: str) -> str:
        if not six:
            return b.node("Relu", [x], name)
        bounds = [net.numbers(f"{name}_low", 0.0), net.numbers(f"{name}_high", 6.0)]
        return b.node("Clip", [x, *bounds], name)

    b.input("image", [1, CHANNELS, SIZE, SIZE])
    first = net.conv("image", "conv1", 16, CHANNELS, pads=[1, 1, 1, 1])
    first = relu(net.norm(first, "norm1", 16), "relu1")
    deep = net.conv(first, "depthwise2", 16, 16, group=16, pads=[1, 1, 1, 1])
    deep = relu(net.norm(deep, "norm2", 16), "relu2")
    point = net.conv(deep, "pointwise3", 16, 16, kernel_shape=[1, 1])
    added = relu(b.node("Add", [first, point], "add3"), "relu3")
    pooled = b.node("MaxPool", [added], "pool4", kernel_shape=[2, 2], strides=[2, 2])
    odd = relu(net.conv(pooled, "conv5", 24, 16, pads=[0, 1, 2, 1], strides=[2, 1]), "relu5")
    around = {} if padding else {"pads": [0, 1, 0, 1]}
    side = net.conv(pooled, "conv6", 8, 16, kernel_shape=[1, 3], strides=[2, 1], **around)
    if padding:
        side = b.node("Pad", [side, b.constant("pads", np.array([0, 0, 0, 1, 0, 0, 0, 1]))], "pad6")
    joined = b.node("Concat", [odd, side], "concat7", axis=1)
    mean = b.node("GlobalAveragePool", [joined], "mean8")
    flat = b.node("Flatten", [mean], "flat8")
    weights = net.numbers("dense_w", net.random.normal(0, 0.3, (CLASSES, 32)))
    logits = b.node(
        "Gemm", [flat, weights, net.numbers("dense_b", np.zeros(CLASSES))], "logits", transB=1
    )
    b.node("Softmax", [logits], "classes", axis=-1)
    b.output("classes")
    path.write_bytes(b.write())
    return path


def samples(count: int, seed: int = 1) -> np.ndarray:
    """(count, 3, 9, 9) numbers, smooth enough to be like images."""
    random = np.random.default_rng(seed)
    coarse = random.normal(0, 1, (count, CHANNELS, 3, 3))
    fine = np.kron(coarse, np.ones((1, 1, 3, 3))) + random.normal(
        0, 0.3, (count, CHANNELS, SIZE, SIZE)
    )
    return fine.astype(np.float32)
