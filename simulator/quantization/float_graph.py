"""A float32 graph on values: what a quantized model is made from, calibrated on and compared with.

This is no datapath: sums are numpy's, in whatever order that takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from simulator.errors import ModelError
from simulator.graph import Graph, Node
from simulator.tensor import TensorSpec
from simulator.workload import samples_as

Values = dict[str, np.ndarray]
_AT_ONCE_BYTES = 1 << 27


def float_model(graph: Graph) -> Graph:
    """``graph`` with weights that are stored as codes (of a hybrid model) as the numbers they stand for.

    An error unless it is float32 from one input to its output, of operators known here.
    """
    for what, names in (("input", graph.inputs), ("output", graph.outputs)):
        for name in names:
            if not graph.spec(name).real:
                problem = f"{what} {name!r} is {graph.spec(name)}"
                raise ModelError(graph.name, problem, "a float32 model")
    if len(graph.inputs) != 1 or graph.states:
        given = f"has {len(graph.inputs)} inputs and {len(graph.states)} states"
        raise ModelError(graph.name, given, "one input, nothing remembered")
    for node in graph.nodes:
        if node.operator not in _OPERATORS:
            where = f"{graph.name}: {node.operator.upper()} {node.name!r}"
            raise ModelError(where, "cannot be quantized", ", ".join(sorted(_OPERATORS)))
    tensors, constants = dict(graph.tensors), dict(graph.constants)
    for name in {n for node in graph.nodes for n in node.inputs if n in constants}:
        params = tensors[name].quantization
        if params is not None:
            shape = [1] * constants[name].ndim
            shape[params.axis] = -1
            points = np.array(params.zero_points).reshape(shape)
            scales = np.array(params.scales, np.float32).reshape(shape)
            constants[name] = ((constants[name] - points) * scales).astype(np.float32)
            spec = TensorSpec(tensors[name].spec.shape, "f32")
            tensors[name] = replace(tensors[name], spec=spec, quantization=None)
    return replace(graph, tensors=tensors, constants=constants)


def run_float(graph: Graph, x: np.ndarray, keep: Iterable[str] = ()) -> Values:
    """Outputs of ``graph``, and tensors of ``keep``, for samples ``x`` (samples, ...), float32."""
    keep = {*keep, *graph.outputs}
    spec = graph.spec(graph.inputs[0])
    if spec.shape[:1] != (1,):
        raise ModelError(graph.name, f"its input has shape {list(spec.shape)}", "a leading 1")
    given = samples_as(x, spec.shape[1:], "samples")
    values: Values = {graph.inputs[0]: given.astype(np.float32)}
    last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    for i, node in enumerate(graph.nodes):
        values[node.outputs[0]] = apply(graph, node, values)
        for name in {*node.inputs} & set(values):
            if last[name] == i and name not in keep:
                del values[name]
    return {name: value for name, value in values.items() if name in keep}


def apply(graph: Graph, node: Node, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """The output of ``node``; constants may be replaced by entries of ``values``."""
    inputs = [
        values[name] if name in values else graph.constants[name] for name in node.inputs if name
    ]
    return _OPERATORS[node.operator](graph, node, inputs)


def batches(graph: Graph, x: np.ndarray) -> Iterator[np.ndarray]:
    """``x`` in parts whose activations fit a bounded memory."""
    largest = max(graph.spec(name).elements for node in graph.nodes for name in node.outputs)
    kernel = max(
        (graph.spec(n.inputs[1]).elements // graph.spec(n.inputs[1]).shape[0]
         for n in graph.nodes if n.operator == "conv_2d"), default=1,
    )  # fmt: skip
    size = max(1, _AT_ONCE_BYTES // (4 * largest * min(kernel, 64)))
    yield from (x[i : i + size] for i in range(0, x.shape[0], size))


def columns(node: Node, x: np.ndarray, kernel: tuple[int, int]) -> np.ndarray:
    """Windows of an image: (samples, out_h, out_w, kernel_h, kernel_w, channels), zeros around it."""
    known = dict(node.attrs)
    pads = [node.integer(f"pad_{side}") for side in ("top", "bottom", "left", "right")]
    x = np.pad(x, ((0, 0), pads[:2], pads[2:], (0, 0)))
    steps = node.integer("stride_h"), node.integer("stride_w")
    apart = [int(known.get(f"dilation_{side}", 1)) for side in "hw"]  # type: ignore[arg-type]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, apart, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(x, reach, (1, 2))
    windows = windows[:, :: steps[0], :: steps[1], :, :: apart[0], :: apart[1]]
    return windows.transpose(0, 1, 2, 4, 5, 3)


def _clamped(node: Node, y: np.ndarray) -> np.ndarray:
    kind = dict(node.attrs).get("activation", "NONE")
    if kind == "NONE":
        return y
    low, high = {"RELU": (0, None), "RELU6": (0, 6), "RELU_N1_TO_1": (-1, 1)}[str(kind)]
    return np.clip(y, low, high).astype(np.float32)


def _conv(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    x, w, *bias = inputs
    out, kernel = w.shape[0], w.shape[1:3]
    groups = x.shape[3] // w.shape[3]
    windows = columns(node, x, kernel)
    shape = windows.shape[:3]
    if groups == 1:
        y = windows.reshape(-1, w[0].size) @ w.reshape(out, -1).T
    else:
        parts = np.split(windows, groups, axis=5)
        of_each = np.split(w, groups)
        y = np.concatenate(
            [
                p.reshape(-1, v[0].size) @ v.reshape(v.shape[0], -1).T
                for p, v in zip(parts, of_each, strict=True)
            ],
            axis=1,
        )
    y = y.reshape(*shape, out)
    return _clamped(node, y + bias[0] if bias else y)


def _depthwise(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    x, w, *bias = inputs
    multiplier = w.shape[3] // x.shape[3]
    if multiplier > 1:
        x = np.repeat(x, multiplier, axis=3)
    windows = columns(node, x, w.shape[1:3])
    y = np.zeros((*windows.shape[:3], w.shape[3]), np.float32)
    for i, j in np.ndindex(*w.shape[1:3]):
        y += windows[:, :, :, i, j] * w[0, i, j]
    return _clamped(node, y + bias[0] if bias else y)


def _dense(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    x, w, *bias = inputs
    rows = x if node.integer("keep_dims") else x.reshape(x.shape[0], -1)
    y = rows @ w.T
    return _clamped(node, y + bias[0] if bias else y).astype(np.float32)


def _pool(how: str) -> Callable[..., np.ndarray]:
    def pool(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        (x,) = inputs
        kernel = node.integer("kernel_h"), node.integer("kernel_w")
        inside = columns(node, np.ones((1, *x.shape[1:3], 1), np.float32), kernel) > 0
        windows = columns(node, x, kernel)
        if how == "max":
            found = np.where(inside, windows, -np.inf).max(axis=(3, 4))
        else:
            found = windows.sum(axis=(3, 4)) / inside.sum(axis=(3, 4))
        return _clamped(node, found.astype(np.float32))

    return pool


def _binary(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def binary(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return _clamped(node, function(*inputs).astype(np.float32))

    return binary


def _reshape(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    shape = graph.spec(node.outputs[0]).shape
    if shape[:1] != (1,):
        where = f"{graph.name}: {node.operator.upper()} {node.name!r}"
        raise ModelError(where, f"makes {list(shape)}", "a leading 1, for the samples")
    return inputs[0].reshape(inputs[0].shape[0], *shape[1:])


def _transpose(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    perm = node.integers("perm")
    if perm[0] != 0:
        where = f"{graph.name}: {node.operator.upper()} {node.name!r}"
        raise ModelError(where, f"permutes {list(perm)}", "samples first")
    return inputs[0].transpose(perm)


def _softmax(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    known = dict(node.attrs)
    scaled = inputs[0] * np.float32(known.get("beta", 1.0))  # type: ignore[arg-type]
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


def _mean(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    x, axes = inputs
    where = tuple(int(a) % x.ndim for a in axes.reshape(-1))
    if 0 in where:
        raise ModelError(f"{graph.name}: MEAN {node.name!r}", "over samples", "other axes")
    return x.mean(axis=where, keepdims=bool(node.integer("keep_dims"))).astype(np.float32)


def _concatenation(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(inputs, axis=node.integer("axis"))


def _pad(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    return np.pad(inputs[0], [tuple(int(v) for v in row) for row in inputs[1]])


def _normalized(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    x, gain, bias, mean, variance = inputs
    return ((x - mean) / np.sqrt(variance + np.float32(node.real("epsilon"))) * gain + bias).astype(
        np.float32
    )


def _unary(function: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda graph, node, inputs: function(inputs[0]).astype(np.float32)


def _logistic(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


_OPERATORS: dict[str, Callable[[Graph, Node, list[np.ndarray]], np.ndarray]] = {
    "conv_2d": _conv, "depthwise_conv_2d": _depthwise, "fully_connected": _dense,
    "average_pool_2d": _pool("average"), "max_pool_2d": _pool("max"), "mean": _mean,
    "add": _binary(np.add), "sub": _binary(np.subtract), "mul": _binary(np.multiply),
    "reshape": _reshape, "transpose": _transpose, "softmax": _softmax,
    "concatenation": _concatenation, "pad": _pad,
    "batch_normalization": _normalized, "relu": _unary(lambda x: np.maximum(x, 0)),
    "relu6": _unary(lambda x: np.clip(x, 0, 6)),
    "relu_n1_to_1": _unary(lambda x: np.clip(x, -1, 1)),
    "logistic": _unary(_logistic), "tanh": _unary(np.tanh),
    "hard_swish": _unary(lambda x: x * np.clip(x + 3, 0, 6) / 6),
}  # fmt: skip
