"""Networks by their shapes alone: for cycles and energy, where no quantized file is at hand.

Layers are int8 (or of 16-bit activations) with weights that are all 0. Their shapes are those of the
papers named; ``npusim run shape:vgg16`` takes one as a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from simulator.errors import ModelError
from simulator.fixedpoint.width import ceil_div
from simulator.graph.ir import Attribute, Graph, GraphTensor, Node, attributes
from simulator.importers._check import check_graph
from simulator.ops import output_shapes
from simulator.tensor import QuantParams, TensorSpec

PREFIX = "shape:"
_CODES = QuantParams((0.05,), (0,))


class Shapes:
    """A network being put together; every method adds a layer and returns the name of what it makes."""

    def __init__(self, name: str, shape: tuple[int, ...], dtype: str = "i8") -> None:
        self.name, self.dtype = name, dtype
        self.tensors: dict[str, GraphTensor] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.nodes: list[Node] = []
        self.input = self._tensor("input", shape)

    def _tensor(self, name: str, shape: tuple[int, ...]) -> str:
        self.tensors[name] = GraphTensor(
            name, TensorSpec(shape, self.dtype), _CODES, len(self.tensors)
        )
        return name

    def _weights(self, *shape: int) -> str:
        """Of the next layer."""
        name, codes = f"{len(self.nodes) + 1} weights", QuantParams((2.0**-7,), (0,))
        self.tensors[name] = GraphTensor(name, TensorSpec(shape, "i8"), codes, len(self.tensors))
        self.constants[name] = np.zeros(shape, np.int8)
        return name

    def _node(self, operator: str, inputs: Sequence[str], **values: Attribute) -> str:
        name = f"{len(self.nodes) + 1} {operator}"
        node = Node(name, operator, tuple(inputs), (name,), attributes(**values))
        self._tensor(name, self.shape(inputs[0]))  # for now, so that its shape can be asked for
        self.nodes.append(node)
        (shape,) = output_shapes(self._graph((name,)), node)
        return self._tensor(name, shape)

    def _graph(self, outputs: tuple[str, ...]) -> Graph:
        return Graph(
            self.name, "tflite", self.tensors, self.constants, tuple(self.nodes), (self.input,), outputs
        )  # fmt: skip

    def shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name].spec.shape

    def _window(self, x: str, kernel: int, stride: int, padding: int | None) -> dict[str, int]:
        """``padding`` on each side; None: as much as makes ceil(size / stride) outputs."""
        found = {"stride_h": stride, "stride_w": stride}
        for axis, before, after in ((1, "pad_top", "pad_bottom"), (2, "pad_left", "pad_right")):
            size = self.shape(x)[axis]
            total = max((ceil_div(size, stride) - 1) * stride + kernel - size, 0)
            found[before] = total // 2 if padding is None else padding
            found[after] = total - total // 2 if padding is None else padding
        return found

    def conv(
        self, x: str, n: int, kernel: int = 1, stride: int = 1, padding: int | None = None,
        groups: int = 1, activation: str = "RELU",
    ) -> str:  # fmt: skip
        w = self._weights(n, kernel, kernel, self.shape(x)[3] // groups)
        window = self._window(x, kernel, stride, padding)
        return self._node(
            "conv_2d", (x, w), activation=activation, dilation_h=1, dilation_w=1, **window
        )

    def depthwise(self, x: str, kernel: int = 3, stride: int = 1) -> str:
        channels = self.shape(x)[3]
        return self.conv(x, channels, kernel, stride, groups=channels)

    def dense(self, x: str, n: int, activation: str = "RELU") -> str:
        w = self._weights(n, int(np.prod(self.shape(x)[1:])))
        return self._node(
            "fully_connected", (x, w), activation=activation, weights_format="DEFAULT", keep_dims=0
        )

    def pool(self, x: str, kernel: int, stride: int, padding: int | None = 0) -> str:
        window = self._window(x, kernel, stride, padding)
        return self._node(
            "max_pool_2d", (x,), activation="NONE", kernel_h=kernel, kernel_w=kernel, **window
        )

    def average(self, x: str) -> str:
        """Over the whole image."""
        _, height, width, _ = self.shape(x)
        return self._node(
            "average_pool_2d", (x,), activation="NONE", kernel_h=height, kernel_w=width, stride_h=1,
            stride_w=1, pad_top=0, pad_left=0, pad_bottom=0, pad_right=0,
        )  # fmt: skip

    def add(self, a: str, b: str) -> str:
        return self._node("add", (a, b), activation="RELU")

    def graph(self, *outputs: str) -> Graph:
        return check_graph(self._graph(outputs))


def alexnet_convolutions(dtype: str = "i8") -> Graph:
    """The convolutions of AlexNet, with their pools and groups (Krizhevsky et al., NIPS 2012)."""
    net = Shapes("alexnet convolutions", (1, 227, 227, 3), dtype)
    x = net.pool(net.conv(net.input, 96, 11, 4, 0), 3, 2)
    x = net.pool(net.conv(x, 256, 5, 1, 2, groups=2), 3, 2)
    x = net.conv(x, 384, 3, 1, 1)
    x = net.conv(x, 384, 3, 1, 1, groups=2)
    return net.graph(net.pool(net.conv(x, 256, 3, 1, 1, groups=2), 3, 2))


def _vgg(depths: Sequence[int], classes: bool, name: str, dtype: str = "i8") -> Graph:
    net = Shapes(name, (1, 224, 224, 3), dtype)
    x = net.input
    for depth, n in zip(depths, (64, 128, 256, 512, 512), strict=True):
        for _ in range(depth):
            x = net.conv(x, n, 3)
        x = net.pool(x, 2, 2)
    if classes:
        x = net.dense(net.dense(net.dense(x, 4096), 4096), 1000, "NONE")
    return net.graph(x)


def vgg16() -> Graph:
    """VGG-16 (Simonyan and Zisserman, arXiv 1409.1556, configuration D)."""
    return _vgg((2, 2, 3, 3, 3), True, "vgg16")


def vgg16_convolutions(dtype: str = "i8") -> Graph:
    """VGG-16 without its dense layers."""
    return _vgg((2, 2, 3, 3, 3), False, "vgg16 convolutions", dtype)


def vgg19() -> Graph:
    """VGG-19 (Simonyan and Zisserman, arXiv 1409.1556, configuration E)."""
    return _vgg((2, 2, 4, 4, 4), True, "vgg19")


def _resnet(depths: Sequence[int], size: int, name: str) -> Graph:
    net = Shapes(name, (1, size, size, 3))
    x = net.pool(net.conv(net.input, 64, 7, 2), 3, 2, None)
    for stage, (depth, n) in enumerate(zip(depths, (64, 128, 256, 512), strict=True)):
        for block in range(depth):
            stride = 2 if stage and block == 0 else 1
            short = net.conv(x, 4 * n, 1, stride, activation="NONE") if block == 0 else x
            y = net.conv(net.conv(x, n, 1, stride), n, 3)
            x = net.add(net.conv(y, 4 * n, 1, activation="NONE"), short)
    return net.graph(net.dense(net.average(x), 1000, "NONE"))


def resnet50() -> Graph:
    """ResNet-50 (He et al., arXiv 1512.03385, table 1), 224 x 224."""
    return _resnet((3, 4, 6, 3), 224, "resnet50")


def resnet50_299() -> Graph:
    """ResNet-50 on 299 x 299."""
    return _resnet((3, 4, 6, 3), 299, "resnet50 299")


def resnet152_299() -> Graph:
    """ResNet-152 (He et al., arXiv 1512.03385, table 1) on 299 x 299."""
    return _resnet((3, 8, 36, 3), 299, "resnet152 299")


def mobilenet_v1() -> Graph:
    """MobileNet of width 1 (Howard et al., arXiv 1704.04861, table 1), 224 x 224."""
    net = Shapes("mobilenet v1", (1, 224, 224, 3))
    x = net.conv(net.input, 32, 3, 2)
    layers = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
    for n, stride in [*layers, (1024, 2), (1024, 1)]:
        x = net.conv(net.depthwise(x, 3, stride), n)
    return net.graph(net.dense(net.average(x), 1000, "NONE"))


def square_dense(layers: int, width: int) -> Graph:
    """Dense layers one after another, all of ``width`` by ``width``."""
    net = Shapes(f"{layers} dense layers of {width}", (1, width))
    x = net.input
    for _ in range(layers):
        x = net.dense(x, width)
    return net.graph(x)


def product(m: int, k: int, n: int) -> Graph:
    """One matrix product, of ``m`` by ``k`` with ``k`` by ``n``."""
    net = Shapes(f"product of {m} x {k} x {n}", (m, k))
    return net.graph(net.dense(net.input, n))


def board_convolutions(layers: int, width: int, side: int) -> Graph:
    """Convolutions of 3 x 3 on a board of ``side`` x ``side``, all of ``width`` channels."""
    net = Shapes(f"{layers} convolutions of {width} on {side} x {side}", (1, side, side, width))
    x = net.input
    for _ in range(layers):
        x = net.conv(x, width, 3)
    return net.graph(x)


NETWORKS: dict[str, Callable[[], Graph]] = {
    "alexnet-convolutions": alexnet_convolutions, "mobilenet-v1": mobilenet_v1,
    "resnet50": resnet50, "resnet50-299": resnet50_299, "resnet152-299": resnet152_299,
    "vgg16": vgg16, "vgg16-convolutions": vgg16_convolutions, "vgg19": vgg19,
}  # fmt: skip


def network(name: str) -> Graph:
    """The network called ``name``, with or without ``shape:`` before it."""
    own = name.removeprefix(PREFIX)
    if own not in NETWORKS:
        raise ModelError(name, "no network of this name", ", ".join(PREFIX + n for n in NETWORKS))
    return NETWORKS[own]()
