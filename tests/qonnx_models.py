"""Random QONNX networks: quantizers of any width and rounding around products and what follows them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from onnx_builder import OnnxBuilder

from simulator.fixedpoint.quantizer import ROUNDING_NAMES

DOMAIN = "qonnx.custom_op.general"
Rng = np.random.Generator


@dataclass
class QonnxNetwork:
    """A network in the making; ``exact`` ones have scales that are powers of two, so that float32 sums
    are whole numbers of units and any order of additions gives the same."""

    rng: Rng
    exact: bool = True
    build: OnnxBuilder = field(default_factory=lambda: OnnxBuilder(opset=13))
    count: int = 0

    def name(self, what: str) -> str:
        self.count += 1
        return f"{what}{self.count}"

    def scale(self) -> float:
        if self.exact:
            return float(2.0 ** self.rng.integers(-5, 1))
        return float(np.float32(np.exp(self.rng.uniform(-3, 0))))

    def quantizer(self, x: str, bits: int, kind: str = "Quant", **attrs: int | str) -> str:
        """Quant or BipolarQuant of ``x`` with one scale."""
        made = self.name("q")
        scale = self.build.constant(f"{made}_scale", self.scale(), np.float32)
        if kind == "BipolarQuant":
            return self.build.node(kind, [x, scale], made, DOMAIN)
        stated = [
            scale, self.build.constant(f"{made}_zero", 0.0, np.float32),
            self.build.constant(f"{made}_bits", float(bits), np.float32),
        ]  # fmt: skip
        attrs = {
            "signed": int(self.rng.integers(2)), "narrow": int(self.rng.integers(2)),
            "rounding_mode": str(self.rng.choice(ROUNDING_NAMES)), **attrs,
        }  # fmt: skip
        return self.build.node(kind, [x, *stated], made, DOMAIN, **attrs)

    def activation(self, x: str) -> str:
        if self.rng.integers(6) == 0:
            return self.quantizer(x, 1, "BipolarQuant")
        bits = int(self.rng.integers(2, 9))
        return self.quantizer(x, bits)

    def weights(self, shape: tuple[int, ...]) -> str:
        """Quantized constants, with one scale or one per output."""
        made = self.name("w")
        source = self.build.constant(made, self.rng.normal(0, 1, shape), np.float32)
        if self.rng.integers(5) == 0:
            return self.quantizer(source, 1, "BipolarQuant")
        per_channel = bool(self.rng.integers(2))
        sizes = (shape[0] if per_channel else 1,) + (1,) * (len(shape) - 1)
        scales = np.array([self.scale() for _ in range(sizes[0])], np.float32).reshape(sizes)
        stated = [
            self.build.constant(f"{made}_scale", scales if per_channel else scales.reshape(()), None),
            self.build.constant(f"{made}_zero", 0.0, np.float32),
            self.build.constant(f"{made}_bits", float(self.rng.integers(2, 9)), np.float32),
        ]  # fmt: skip
        attrs = {"signed": 1, "narrow": int(self.rng.integers(2)), "rounding_mode": "ROUND"}
        return self.build.node("Quant", [source, *stated], f"{made}_q", DOMAIN, **attrs)

    def normalized(self, x: str, channels: int) -> str:
        """Batch normalization with factors of both signs, sometimes 0."""
        made = self.name("bn")
        factors = self.rng.normal(0, 1, channels) * (self.rng.integers(8, size=channels) > 0)
        arrays = {
            "gamma": factors, "beta": self.rng.normal(0, 1, channels),
            "mean": self.rng.normal(0, 3, channels), "var": self.rng.uniform(0.1, 9, channels),
        }  # fmt: skip
        stated = [self.build.constant(f"{made}_{k}", v, np.float32) for k, v in arrays.items()]
        return self.build.node("BatchNormalization", [x, *stated], made)

    def after(self, x: str, channels: int, rank: int) -> str:
        """What may stand between a product and the next quantizer."""
        for _ in range(int(self.rng.integers(0, 4))):
            step = int(self.rng.integers(5))
            made = self.name("f")
            shape = (1, channels) + (1,) * (rank - 2)
            parameter = self.rng.uniform(0.2, 3, shape if self.rng.integers(2) else ())
            if step == 0:
                x = self.normalized(x, channels)
            elif step == 1:
                x = self.build.node("Relu", [x], made)
            else:
                operator = ("Add", "Mul", "Div", "Sub")[self.rng.integers(4)]
                operand = self.build.constant(f"{made}_c", parameter, np.float32)
                x = self.build.node(operator, [x, operand], made)
        return x


def residual_network(rng: Rng, exact: bool = True) -> tuple[bytes, tuple[int, ...]]:
    """Branches that are added, subtracted, multiplied or put side by side, and pools between them."""
    net = QonnxNetwork(rng, exact)
    channels, size = int(rng.integers(1, 5)), int(rng.integers(4, 9))
    shape = (1, channels, size, size)
    x = net.activation(net.build.input("x", shape))
    for _ in range(int(rng.integers(1, 4))):
        branch = net.build.node(
            "Conv", [x, net.weights((channels, channels, 3, 3))], net.name("c"), pads=[1, 1, 1, 1]
        )
        branch = net.activation(net.after(branch, channels, 4))
        kind = str(rng.choice(["Add", "Add", "Add", "Sub", "Mul", "Concat"]))
        attrs = {"axis": 1} if kind == "Concat" else {}
        x = net.build.node(
            kind, [x, branch] if rng.integers(2) else [branch, x], net.name("j"), "", **attrs
        )
        channels *= 2 if kind == "Concat" else 1
        step = int(rng.integers(4))
        if step == 0:
            x = net.normalized(x, channels)
        elif step == 1:
            x = net.build.node("Relu", [x], net.name("r"))
        elif step == 2 and rng.integers(2):
            bounds = [net.build.constant(net.name("k"), v, np.float32) for v in (-0.5, 2.0)]
            x = net.build.node("Clip", [x, *bounds], net.name("h"))
        if rng.integers(4):  # as the tools write it
            x = net.quantizer(x, int(rng.integers(2, 9)), rounding_mode="ROUND")
        else:
            x = net.activation(x)
        if size > 3 and rng.integers(2):
            x = net.build.node("MaxPool", [x], net.name("p"), kernel_shape=[2, 2], strides=[1, 1])
            size -= 1
    average = ("AveragePool", "GlobalAveragePool", "ReduceMean")[rng.integers(3)]
    attrs = {
        "AveragePool": {"kernel_shape": [2, 3], "strides": [1, 1]}, "GlobalAveragePool": {},
        "ReduceMean": {"axes": [2, 3], "keepdims": 1},
    }[average]  # fmt: skip
    x = net.build.node(average, [x], net.name("a"), **attrs)
    x = net.activation(net.after(x, channels, 4) if rng.integers(2) else x)
    net.build.output(net.build.node("Flatten", [x], net.name("f")))
    return net.build.write(), shape


def dense_network(rng: Rng, exact: bool = True) -> tuple[bytes, tuple[int, ...]]:
    """Two or three layers of matrix products; (file, input shape)."""
    net = QonnxNetwork(rng, exact)
    sizes = [int(n) for n in rng.integers(1, 40, int(rng.integers(2, 4)))]
    shape = (1, sizes[0])
    x = net.activation(net.build.input("x", shape))
    for k, n in zip(sizes, [*sizes[1:], int(rng.integers(1, 20))], strict=True):
        turned = net.build.node("Transpose", [net.weights((n, k))], net.name("t"), perm=[1, 0])
        x = net.build.node("MatMul", [x, turned], net.name("m"))
        x = net.activation(net.after(x, n, 2))
    net.build.output(x)
    return net.build.write(), shape


def image_network(rng: Rng, exact: bool = True) -> tuple[bytes, tuple[int, ...]]:
    """Convolutions, grouped and depthwise among them, sometimes blocks of channels to places."""
    net = QonnxNetwork(rng, exact)
    channels, size = int(rng.integers(1, 5)), int(rng.integers(3, 9))
    shape = (1, channels, size, size)
    x = net.activation(net.build.input("x", shape))
    for _ in range(int(rng.integers(1, 4))):
        depthwise = bool(rng.integers(3) == 0)
        groups = channels if depthwise else 1
        out = channels * int(rng.integers(1, 3)) if depthwise else int(rng.integers(1, 4)) * 4
        kernel = int(rng.integers(1, 4))
        bias = []
        if rng.integers(2):
            values = np.round(rng.normal(0, 3, out))
            bias = [net.build.constant(net.name("b"), values, np.float32)]
        weights = net.weights((out, channels // groups, kernel, kernel))
        x = net.build.node(
            "Conv", [x, weights, *bias], net.name("c"), group=groups, kernel_shape=[kernel, kernel],
            pads=[kernel // 2] * 4,
        )  # fmt: skip
        x, channels = net.after(x, out, 4), out
        x = net.activation(x)
    if channels % 4 == 0 and rng.integers(2):
        mode = ("CRD", "DCR")[rng.integers(2)]
        x = net.build.node("DepthToSpace", [x], net.name("d"), blocksize=2, mode=mode)
        x = net.build.node("Relu", [x], net.name("r"))
        x = net.activation(x)
    net.build.output(x)
    return net.build.write(), shape
