"""A float graph as a network whose forward pass is, to the bit, what its quantized file computes.

Tensors are codes, float32 numbers that are integers. Products are sums of integers, exact in float32 below
2**24 and in float64 beyond, scaled and rounded once as ONNX Runtime does; gradients pass straight through.
So there is no gap between what is trained and what a device runs: tests compare every tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from simulator.errors import ModelError, UsageError
from simulator.graph import Graph, Node
from simulator.quantization.calibration import shared_ranges
from simulator.quantization.equalization import PRODUCTS, Norm, output_axis
from simulator.quantization.post_training import LayerWeights, assemble, relative_error
from simulator.quantizers import Quantized
from simulator.tensor import QuantParams
from simulator.training.activations import LEVELS, Activation
from simulator.training.rounding import per_channel, rounded
from simulator.training.weights import METHODS, POWERS_OF_TWO, WeightQuantizer
from simulator.workload import sample_axes

PROFILE = "onnxruntime"
_EXACT = 1 << 24  # of integers in float32
_MOMENTUM = 0.1  # of running means, what the newest batch counts
_ENDS = {"RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}


class BatchNorm(nn.Module):
    """A batch norm that is folded into its product in every step, before weights are quantized.

    While it is trained its statistics are those of the batch, measured on unquantized weights, and running
    means of them are kept (the batch statistics folding of QKeras' ``qconv2d_batchnorm.py``); from
    :meth:`freeze` on, and outside of training, they are the running means, as in the file that is written.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.from_numpy(norm.gain.copy()))
        self.beta = nn.Parameter(torch.from_numpy(norm.beta.copy()))
        self.register_buffer("mean", torch.from_numpy(norm.mean.copy()))
        self.register_buffer("variance", torch.from_numpy(norm.variance.copy()))
        self.epsilon, self.frozen = norm.epsilon, False

    def freeze(self) -> None:
        self.frozen = True

    def statistics(self, sums: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """(mean, variance) of each channel; ``sums`` computes what the norm would be given."""
        if self.frozen or not self.training:
            return self.mean, self.variance
        made = sums().flatten(0, -2)
        mean, variance = made.mean(dim=0), made.var(dim=0, unbiased=False)
        for kept, seen in ((self.mean, mean), (self.variance, variance)):
            kept.lerp_(seen.detach(), _MOMENTUM)
        return mean, variance


class Product(nn.Module):
    """Weights and bias of one product, a batch norm behind it if there is one, and the quantizer of its
    weights."""

    def __init__(
        self, node: Node, weights: np.ndarray, bias: np.ndarray | None, quantizer: WeightQuantizer,
        norm: Norm | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.node = node
        self.weights = nn.Parameter(torch.from_numpy(weights.copy()))
        self.bias = nn.Parameter(torch.from_numpy(bias.copy())) if bias is not None else None
        self.quantizer = quantizer
        self.norm = BatchNorm(norm) if norm is not None else None

    def folded(self, sums: Callable[[], Tensor]) -> tuple[Tensor, Tensor | None]:
        """Weights and bias with the norm in them; ``sums``: what the product makes of real numbers."""
        if self.norm is None or self.bias is None:
            return self.weights, self.bias
        mean, variance = self.norm.statistics(sums)
        factor = self.norm.gain / torch.sqrt(variance + self.norm.epsilon)
        rank, axis = self.weights.dim(), output_axis(self.node)
        weights = self.weights * per_channel(factor, rank, axis)
        return weights, (self.bias - mean) * factor + self.norm.beta

    def written(self) -> tuple[Tensor, Tensor | None]:
        """Weights and bias as a file has them, of a network that is not in training."""
        weights, bias = self.folded(_no_statistics)
        return weights.detach(), None if bias is None else bias.detach()


class QuantizedNetwork(nn.Module):
    """``graph``: float32, norms folded. ``params``: int8 parameters of its tensors, as calibrated.

    ``make``: the quantizer of a layer's weights, given the layer and them. Activations are trained by
    ``activations``, but for those of the input and of a softmax. ``norms``: batch norms that are folded
    into layers of that name, but are trained on.
    """

    def __init__(
        self, graph: Graph, params: Mapping[str, QuantParams],
        make: Callable[[Node, Tensor], WeightQuantizer], activations: str = "static",
        norms: Mapping[str, Norm] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        super().__init__()
        self.graph = graph
        leader = shared_ranges(graph)
        fixed = {leader[graph.inputs[0]]}
        fixed |= {leader[n.outputs[0]] for n in graph.nodes if n.operator == "softmax"}
        self.places = {name: str(i) for i, name in enumerate(sorted(set(leader.values())))}
        self.leader = leader
        self.activations = nn.ModuleDict()
        for name, place in self.places.items():
            q = params[name]
            unsigned = QuantParams(q.scales, (q.zero_point + 128,))
            method = "static" if name in fixed else activations
            self.activations[place] = Activation(unsigned, method, graph.spec(name).elements)
        self.products = nn.ModuleDict()
        # By number: names of layers have dots, which names of modules may not.
        self.numbers = {node.name: str(i) for i, node in enumerate(graph.nodes)}
        for node in graph.nodes:
            if node.operator not in _OPERATORS:
                where = f"{graph.name}: {node.operator.upper()} {node.name!r}"
                raise ModelError(where, "cannot be trained", ", ".join(sorted(_OPERATORS)))
            if node.operator in PRODUCTS:
                weights = graph.constants[node.inputs[1]]
                bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 else None
                quantizer = make(node, torch.from_numpy(weights.copy()))
                norm = norms.get(node.name)
                if norm is not None:
                    weights, bias = norm.weights, norm.bias
                number = self.numbers[node.name]
                self.products[number] = Product(node, weights, bias, quantizer, norm)

    def activation(self, name: str) -> Activation:
        found = self.activations[self.places[self.leader[name]]]
        assert isinstance(found, Activation)
        return found

    def product(self, node: Node) -> Product:
        found = self.products[self.numbers[node.name]]
        assert isinstance(found, Product)
        return found

    def layers(self) -> list[Product]:
        return [p for p in self.products.values() if isinstance(p, Product)]

    def forward(self, x: Tensor, codes: dict[str, Tensor] | None = None) -> Tensor:
        """Real outputs, before a last softmax, of real samples ``x`` (samples, ...);
        ``codes`` takes the codes of every tensor up to there."""
        graph = self.graph
        source = self.activation(graph.inputs[0])
        spec = graph.spec(graph.inputs[0])
        axes = sample_axes(tuple(x.shape[1:]), spec.shape[1:], "samples")
        image = x.permute(0, *(1 + a for a in axes)).reshape(x.shape[0], *spec.shape[1:])
        steps = image / source.scale
        values = {graph.inputs[0]: source.codes(steps, 0, LEVELS)}
        last = graph.inputs[0]
        for node in graph.nodes:
            if node.operator == "softmax" and node.outputs[0] == graph.outputs[0]:
                break
            last = node.outputs[0]
            values[last] = _OPERATORS[node.operator](self, node, values)
        if codes is not None:
            codes.update({name: value.detach() for name, value in values.items()})
        end = self.activation(last)
        return (values[last] - end.zero_point) * end.scale

    def bounds(self, node: Node) -> tuple[int, int]:
        """The codes between which an operator's activation holds its output."""
        target = self.activation(node.outputs[0])
        kind = str(dict(node.attrs).get("activation", node.operator.upper()))
        low, high = _ENDS.get(kind, (None, None))
        step = np.float32(float(target.scale.detach()))

        def code(value: float) -> int:
            return int(np.clip(np.rint(np.float32(value) / step) + target.zero_point, 0, LEVELS))

        return 0 if low is None else code(low), LEVELS if high is None else code(high)

    def quantized(self) -> Graph:
        """The quantized graph as it is now, in profile ``onnxruntime``."""
        layers = {}
        for product in self.layers():
            weights, offset = product.written()
            with torch.no_grad():
                levels, scale = product.quantizer(weights)
            node, quantizer = product.node, product.quantizer
            scales = scale.detach().numpy().astype(np.float32).reshape(-1)
            axis = output_axis(node) if scales.size > 1 else None
            found = Quantized(
                levels.detach().numpy().astype(np.int8), scales, np.zeros(scales.size, np.int64),
                axis, quantizer.coding,
            )  # fmt: skip
            exact = weights.numpy()
            bias = None if offset is None else offset.numpy()
            name = type(quantizer).__name__.lower()
            error = relative_error(exact, found)
            layers[node.name] = LayerWeights(node, name, found, bias, error)
        params = {name: self.activation(name).params() for name in self.leader}
        return assemble(self.graph, layers, params, PROFILE)


def _no_statistics() -> Tensor:
    raise AssertionError("a network in training has no statistics to be written")


Values = dict[str, Tensor]


def _centred(net: QuantizedNetwork, name: str, values: Values) -> Tensor:
    point = net.activation(name).zero_point
    return values[name] - point if point else values[name]


def _product(net: QuantizedNetwork, node: Node, values: Values) -> Tensor:
    held, target = net.product(node), net.activation(node.outputs[0])
    source = net.activation(node.inputs[0])
    image = _centred(net, node.inputs[0], values)

    def real_sums() -> Tensor:
        made = _SUMS[node.operator](node, image * source.scale, held.weights)
        return made if held.bias is None else made + held.bias

    weights, bias = held.folded(real_sums)
    levels, scale = held.quantizer(weights)
    terms = held.weights.numel() // held.weights.shape[output_axis(node)]
    wide = terms * LEVELS * float(levels.detach().abs().max()) >= _EXACT
    kind = torch.float64 if wide else torch.float32
    sums = _SUMS[node.operator](node, image.to(kind), levels.to(kind))
    units = source.scale * scale
    if bias is not None:
        sums = sums + rounded(bias.double() / units.double()).to(kind)
    steps = sums.to(torch.float32) * (units / target.scale)
    return target.codes(steps, *net.bounds(node))


def _conv(node: Node, x: Tensor, w: Tensor) -> Tensor:
    groups = x.shape[3] // w.shape[3]
    return _windows(node, x, w.permute(0, 3, 1, 2), groups)


def _depthwise(node: Node, x: Tensor, w: Tensor) -> Tensor:
    return _windows(node, x, w.permute(3, 0, 1, 2), x.shape[3])


def _windows(node: Node, x: Tensor, kernel: Tensor, groups: int) -> Tensor:
    known = dict(node.attrs)
    left, right, top, bottom = (
        node.integer(f"pad_{side}") for side in ("left", "right", "top", "bottom")
    )
    image, around = x.permute(0, 3, 1, 2), (top, left)
    if (left, top) != (right, bottom):
        image, around = functional.pad(image, [left, right, top, bottom]), (0, 0)
    steps = node.integer("stride_h"), node.integer("stride_w")
    apart = tuple(node.integer(f"dilation_{s}") if f"dilation_{s}" in known else 1 for s in "hw")
    return functional.conv2d(image, kernel, None, steps, around, apart, groups).permute(0, 2, 3, 1)


def _dense(node: Node, x: Tensor, w: Tensor) -> Tensor:
    rows = x if node.integer("keep_dims") else x.reshape(x.shape[0], -1)
    return rows @ w.T


_SUMS = {"conv_2d": _conv, "depthwise_conv_2d": _depthwise, "fully_connected": _dense}


def _add(net: QuantizedNetwork, node: Node, values: Values) -> Tensor:
    """QLinearAdd: two fused multiply-adds in float32, done in float64 and rounded."""
    if any(name not in values for name in node.inputs):
        raise UsageError(f"ADD {node.name!r}", "of a constant", "two activations, to be trained")
    a, b = (net.activation(name) for name in node.inputs)
    target = net.activation(node.outputs[0])
    ra, rb = a.scale / target.scale, b.scale / target.scale
    inner = (ra.double() * a.zero_point + (rb * b.zero_point).double()).float()
    start = target.zero_point - inner
    x, y = (values[name].double() for name in node.inputs)
    second = (y * rb.double() + start.double()).float()
    steps = (x * ra.double() + second.double()).float()
    return target.codes(steps - target.zero_point, *net.bounds(node))


def _max_pool(net: QuantizedNetwork, node: Node, values: Values) -> Tensor:
    pads = [node.integer(f"pad_{side}") for side in ("left", "right", "top", "bottom")]
    image = values[node.inputs[0]].permute(0, 3, 1, 2)
    image = functional.pad(image, pads, value=-1.0)
    kernel = node.integer("kernel_h"), node.integer("kernel_w")
    steps = node.integer("stride_h"), node.integer("stride_w")
    return functional.max_pool2d(image, kernel, steps).permute(0, 2, 3, 1)


def _average_pool(net: QuantizedNetwork, node: Node, values: Values) -> Tensor:
    """Of whole images one product; of windows, sums in float32 tap by tap."""
    shape = net.graph.spec(node.inputs[0]).shape
    kernel = node.integer("kernel_h"), node.integer("kernel_w")
    pads = [node.integer(f"pad_{side}") for side in ("left", "right", "top", "bottom")]
    if kernel == shape[1:3] and not any(pads):
        return _mean(net, node, values)
    if any(pads):
        raise UsageError(f"AVERAGE_POOL_2D {node.name!r}", "with padding", "none, to be trained")
    source, target = net.activation(node.inputs[0]), net.activation(node.outputs[0])
    real = _centred(net, node.inputs[0], values) * source.scale
    steps = node.integer("stride_h"), node.integer("stride_w")
    taps = real.unfold(1, kernel[0], steps[0]).unfold(2, kernel[1], steps[1]).flatten(4)
    total = torch.zeros_like(taps[..., 0])
    for tap in taps.unbind(-1):
        total = total + tap
    scaled = total / float(kernel[0] * kernel[1]) / target.scale + target.zero_point
    return target.codes(scaled - target.zero_point, 0, LEVELS)


def _mean(net: QuantizedNetwork, node: Node, values: Values) -> Tensor:
    """QLinearGlobalAveragePool."""
    source, target = net.activation(node.inputs[0]), net.activation(node.outputs[0])
    image = _centred(net, node.inputs[0], values)
    sums = image.sum(dim=(1, 2), keepdim=True)
    steps = sums * (source.scale / (target.scale * float(image.shape[1] * image.shape[2])))
    codes = target.codes(steps, 0, LEVELS)
    return codes.reshape(codes.shape[0], *net.graph.spec(node.outputs[0]).shape[1:])


def _reshape(net: QuantizedNetwork, node: Node, values: Values) -> Tensor:
    value = values[node.inputs[0]]
    return value.reshape(value.shape[0], *net.graph.spec(node.outputs[0]).shape[1:])


def _transpose(net: QuantizedNetwork, node: Node, values: Values) -> Tensor:
    return values[node.inputs[0]].permute(*node.integers("perm"))


def _concatenation(net: QuantizedNetwork, node: Node, values: Values) -> Tensor:
    return torch.cat([values[name] for name in node.inputs], dim=node.integer("axis"))


def _pad(net: QuantizedNetwork, node: Node, values: Values) -> Tensor:
    amounts = net.graph.constants[node.inputs[1]]
    flat = [int(v) for row in amounts[::-1] for v in row]
    point = float(net.activation(node.inputs[0]).zero_point)
    return functional.pad(values[node.inputs[0]], flat, value=point)


_OPERATORS: dict[str, Any] = {
    **dict.fromkeys(PRODUCTS, _product), "add": _add, "max_pool_2d": _max_pool,
    "average_pool_2d": _average_pool, "mean": _mean, "reshape": _reshape, "transpose": _transpose,
    "concatenation": _concatenation, "pad": _pad, "softmax": None,
}  # fmt: skip


def maker(
    method: str, bits: int, per: str, edges: tuple[set[str], int | None], **more: Any
) -> Callable[[Node, Tensor], WeightQuantizer]:
    """How layers get their quantizers: ``method`` in ``bits``, one scale per ``channel`` or ``tensor``.

    Those whose names are in ``edges`` learn a scale of their own in another number of bits, if there
    is one: by LSQ, or by TQT where ``method`` has powers of two as scales.
    """
    if method not in METHODS:
        raise UsageError("method", repr(method), ", ".join(METHODS))

    of_edges = METHODS["tqt" if method in POWERS_OF_TWO else "lsq"]

    def make(node: Node, weights: Tensor) -> WeightQuantizer:
        axis = output_axis(node) if per == "channel" else None
        if node.name in edges[0] and edges[1]:
            return of_edges(weights, edges[1], axis)
        return METHODS[method](weights, bits, axis, **more)

    return make
