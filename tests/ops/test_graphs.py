"""Properties of whole graphs: whatever operators follow each other, on whatever device and tiling, the
datapath equals the naive references of the operators, and LiteRT under the profile's kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import random_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from litert_runner import LiteRTRunner
from random_devices import compile_tightly
from random_layers import SAMPLES, Layer, codes
from random_networks import Network
from tflite_builder import Op, Tensor, build_model

from simulator.datapath.machine import Machine
from simulator.graph import Graph
from simulator.importers.tflite import read_tflite
from simulator.ops import reference_values


def _binary(kind: str) -> Callable[[Network], None]:
    def step(net: Network) -> None:
        x = net.any_tensor()
        alike = [t for t in net.made if tuple(t.shape) == tuple(x.shape)]
        z = alike[net.rng.integers(len(alike))]
        net.ops.append(Op(kind, [x.name, z.name], net.output(tuple(x.shape)).name))

    return step


def _concatenation(net: Network) -> None:
    x = net.any_tensor()
    b, h, w, c = x.shape
    y = net.output((b, h, w, 2 * c), like=x)
    net.ops.append(Op("CONCATENATION", [x.name, x.name], y.name, {"Axis": 3}))


def _logistic(net: Network) -> None:
    x = net.any_tensor()
    zero = -128 if net.code == "i8" else 0
    y = Tensor(f"t{len(net.tensors)}", x.shape, net.code, np.float32(1 / 256), zero)
    net.tensors.append(y)
    net.made.append(y)
    net.ops.append(Op("LOGISTIC", [x.name], y.name))


def _transpose(net: Network) -> None:
    x = net.any_tensor()
    perm = np.array([0, *(1 + net.rng.permutation(3))], np.int32)
    y = net.output(tuple(x.shape[i] for i in perm), like=x)
    net.ops.append(Op("TRANSPOSE", [x.name, net.constant(perm, "i32")], y.name))


def _slice(net: Network) -> None:
    x = net.any_tensor()
    begin = np.array([int(net.rng.integers(0, s)) for s in x.shape], np.int32)
    begin[0] = 0
    size = np.array([s - b for s, b in zip(x.shape, begin, strict=True)], np.int32)
    y = net.output(tuple(int(s) for s in size), like=x)
    inputs = [x.name, net.constant(begin, "i32"), net.constant(size, "i32")]
    net.ops.append(Op("SLICE", inputs, y.name))


def _mean(net: Network) -> None:
    x = net.any_tensor()
    y = net.output((1, 1, 1, x.shape[3]))
    inputs = [x.name, net.constant(np.array([1, 2], np.int32), "i32")]
    net.ops.append(Op("MEAN", inputs, y.name, {"KeepDims": True}))


STEPS: dict[str, Callable[[Network], None]] = {
    **{step.__name__.strip("_"): step for step in random_networks.STEPS},
    "sub": _binary("SUB"), "mul": _binary("MUL"), "concatenation": _concatenation,
    "logistic": _logistic, "transpose": _transpose, "slice": _slice, "mean": _mean,
}  # fmt: skip


def network_of(steps: list[str], code: str, seed: int) -> Layer:
    """The network that these steps make; its last tensor is the output."""
    net = Network(np.random.default_rng(seed), code)
    for step in steps:
        STEPS[step](net)
    content = build_model(net.tensors, net.ops, ["x"], [net.made[-1].name])
    return Layer(content, {"x": codes(net.rng, code, SAMPLES, *net.tensors[0].shape)})


def naive(graph: Graph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor of one sample by the operators' references."""
    known = dict(inputs)
    for node in graph.nodes:
        operands = [known[n] for n in node.inputs if n in known]
        made = reference_values(graph, node, operands)
        for name, values in zip(node.outputs, made, strict=True):
            known[name] = values.astype(graph.spec(name).container)
    return known


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    steps=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=7),
    code=st.sampled_from(["i8", "u8"]),
    profile=st.sampled_from(["tflite", "ruy"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_datapath_equals_references_equals_litert(
    steps: list[str], code: str, profile: str, seed: int
) -> None:
    layer = network_of(steps, code, seed)
    graph = replace(read_tflite(layer.content, "graph"), profile=profile)
    rng = np.random.default_rng(seed)
    done = Machine(compile_tightly(rng, graph)).run(layer.inputs, keep=graph.tensors)
    (output,) = graph.outputs
    expected = LiteRTRunner(layer.content, profile).run(layer.inputs)[output]
    np.testing.assert_array_equal(done.outputs[output], expected)
    defined = naive(graph, {name: values[0] for name, values in layer.inputs.items()})
    for name, values in done.tensors.items():
        np.testing.assert_array_equal(values[0], defined[name], f"naive, {name}")
