"""Weights in fewer bits: close to what they were, and run as any others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_layers import LAYERS
from real_models import graph_of

from simulator import load_device, load_model, simulate
from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.errors import NpusimError
from simulator.graph import Graph
from simulator.hwconfig import with_array
from simulator.importers.tflite import read_tflite
from simulator.npu import exact_device
from simulator.ops import reference_values
from simulator.ops._stage import operands
from simulator.ops._weight_bits import PRODUCTS, _bias, with_weight_bits
from simulator.result import Result


def real_weights(graph: Graph, name: str) -> np.ndarray:
    """(channels with a scale of their own, weights of each) as real numbers."""
    q, values = graph.quantization(name), graph.constants[name]
    rows = np.moveaxis(values, q.axis, 0) if q.per_channel else values[np.newaxis]
    return rows.reshape(len(q.scales), -1) * np.array(q.scales)[:, None]


@pytest.mark.parametrize("bits", range(2, 9))
def test_error_is_no_larger_than_of_plain_rounding(bits: int) -> None:
    before = load_model("digits")
    after = load_model("digits", weight_bits=bits)
    changed = 0
    for node in before.nodes:
        if node.operator not in PRODUCTS:
            continue
        name, most = operands(node).weights, 2 ** (bits - 1) - 1
        old, new = real_weights(before, name), real_weights(after, name)
        if bits == 8:
            assert np.array_equal(old, new)
            continue
        changed += 1
        assert after.spec(name).dtype == f"i{bits}"
        assert np.abs(after.constants[name]).max() <= most
        step = np.abs(old).max(axis=1, keepdims=True) / most
        plain = np.rint(old / step) * step
        errors = [((x - old) ** 2).sum(axis=1) for x in (new, plain)]
        assert (errors[0] <= errors[1] * (1 + 1e-4)).all()
        bias = operands(node).bias
        scales = [np.array(g.quantization(name).scales) for g in (before, after)]
        moved = after.constants[bias] * scales[1] - before.constants[bias] * scales[0]
        assert (np.abs(moved) <= 0.5001 * scales[1]).all()
    assert changed > 2 or bits == 8


@pytest.mark.parametrize("name", PRODUCTS)
def test_layers_run_as_their_operator_says(name: str) -> None:
    """The datapath gives what the operator's naive reference gives."""
    done = 0
    for seed in range(12):
        layer = LAYERS[name](np.random.default_rng([seed, 5]))
        graph = read_tflite(layer.content, name)
        (node,) = (n for n in graph.nodes if n.operator == name)
        weights = operands(node).weights
        if not graph.constant(weights) or not graph.spec(weights).signed:
            continue
        narrow = with_weight_bits(graph, 2 + seed % 6)
        program = compile_graph(narrow, exact_device())
        made = Machine(program).run(layer.inputs, keep=node.outputs).tensors[node.outputs[0]]
        given = [layer.inputs[n][0] for n in node.inputs if n in layer.inputs]
        (expected,) = reference_values(narrow, node, given)
        assert np.array_equal(made[0], expected)
        done += 1
    assert done > 4


def test_fewer_bits_buy_time_energy_and_memory() -> None:
    """On PEs that make use of them."""

    def run(bits: int, scaling: str) -> Result:
        device = with_array(load_device("edge-stick"), precision_scaling=scaling)
        return simulate(load_model("digits", weight_bits=bits), device)

    for scaling in ("fused", "bit_serial"):
        wide, narrow = run(8, scaling).totals, run(4, scaling).totals
        assert narrow.cycles < wide.cycles
        assert narrow.energy_pj < wide.energy_pj
    wide, narrow = run(8, "none").totals, run(4, "none").totals
    assert narrow.resident_weight_bytes < 0.6 * wide.resident_weight_bytes
    assert narrow.scratchpad_bytes < wide.scratchpad_bytes


@pytest.mark.parametrize("bits", [0, 1, 9])
def test_other_widths_are_refused(bits: int) -> None:
    with pytest.raises(NpusimError, match=f"weight bits: {bits}; allowed: 2 to 8"):
        load_model("digits", weight_bits=bits)


def test_weights_with_zero_points_are_refused() -> None:
    graph = graph_of("mobilenet_v1")
    with pytest.raises(
        NpusimError, match=r"weights of u8, zero point \d+, to be narrowed; allowed"
    ):
        with_weight_bits(graph, 4)


def first_convolution(graph: Graph) -> tuple[str, str]:
    """Names of its weights and bias."""
    node = next(n for n in graph.nodes if n.operator == "conv_2d")
    return operands(node).weights, operands(node).bias


def test_weights_that_fit_stay_as_they_are() -> None:
    """So that a dead channel, whose bias is as large as its type allows, keeps both."""
    graph = load_model("digits")
    weights, bias = first_convolution(graph)
    small, large = graph.constants[weights].copy(), graph.constants[bias].copy()
    small[0], small[1] = 0, 7
    large[:2] = 1 << 30, -(1 << 30)
    given = replace(graph, constants={**graph.constants, weights: small, bias: large})
    after = with_weight_bits(given, 4)
    assert np.array_equal(after.constants[weights][:2], small[:2])
    assert after.constants[bias][:2].tolist() == large[:2].tolist()
    assert after.quantization(weights).scales[:2] == given.quantization(weights).scales[:2]


def test_a_bias_beyond_its_type_saturates() -> None:
    """Where a scale falls to a third, a bias grows three times; 2**30 has no room for that."""
    graph = load_model("digits")
    node = next(n for n in graph.nodes if n.operator == "conv_2d")
    weights, bias = first_convolution(graph)
    large = graph.constants[bias].copy()
    large[:2] = 1 << 30, -(1 << 30)
    given = replace(graph, constants={**graph.constants, bias: large})
    old = given.quantization(weights)
    finer = replace(old, scales=tuple(s / 3 for s in old.scales))
    moved = _bias(given, operands(node), replace(given.tensors[weights], quantization=finer))[1]
    most = np.iinfo(moved.dtype).max
    assert moved[:2].tolist() == [most, -most]
    assert np.array_equal(moved[2:], 3 * large[2:])
