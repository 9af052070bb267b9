"""What a device cannot change: tiles, dataflow, memories and batch leave every bit as it is."""

from __future__ import annotations

import numpy as np
import pytest
from random_devices import compile_tightly, device_dict, small_device
from random_layers import LAYERS
from random_networks import random_network
from tflite_builder import Op, Tensor, build_model

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.hwconfig import device_from_dict
from simulator.importers.tflite import read_tflite
from simulator.program.commands import Command, Host, Matmul, Move
from simulator.program.nest import macs, tile_count
from simulator.program.program import Program

PRODUCTS = ("conv_2d", "depthwise_conv_2d", "fully_connected", "transpose_conv", "batch_matmul")
DEVICES = 25
WIDE = {"ifmap_bits": 16, "weight_bits": 16, "accumulator_bits": 48}  # for layers of int16


def product_of(command: Command) -> Matmul:
    inner = command.command if isinstance(command, Host) else command
    assert isinstance(inner, Matmul)
    return inner


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_device_never_changes_a_bit(name: str) -> None:
    shapes = set()
    for seed in range(6):
        rng = np.random.default_rng(seed + 100)
        layer = LAYERS[name](rng)
        graph = read_tflite(layer.content, name)
        plain = Machine(compile_graph(graph, small_device(**WIDE))).run(layer.inputs)
        for _ in range(DEVICES):
            program = compile_tightly(rng, graph, **WIDE)
            got = Machine(program).run(layer.inputs)
            np.testing.assert_array_equal(got.outputs["y"], plain.outputs["y"])
            assert got.counts == plain.counts
            (product,) = (c for c in program.commands if not isinstance(c, Move))
            nest = product_of(product).nest
            shapes.add((seed, *nest[-6:]))
    # The devices do tile differently.
    assert len(shapes) > 6 * DEVICES // 4


def _all_runs(seed: int) -> tuple[Program, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    program = compile_tightly(rng, read_tflite(network.content, "network"))
    inputs = {
        name: np.concatenate([values, rng.permuted(values, axis=-1), values[::-1]])
        for name, values in network.inputs.items()
    }
    return program, inputs


def _samples(inputs: dict[str, np.ndarray]) -> int:
    """How many samples each of the inputs brings."""
    (samples,) = {values.shape[0] for values in inputs.values()}
    return samples


@pytest.mark.parametrize("seed", range(12))
def test_samples_do_not_see_each_other(seed: int) -> None:
    program, inputs = _all_runs(seed)
    machine = Machine(program)
    together = machine.run(inputs)
    apart = [
        machine.run({name: values[i : i + 1] for name, values in inputs.items()})
        for i in range(_samples(inputs))
    ]
    for name, values in together.outputs.items():
        np.testing.assert_array_equal(values, np.concatenate([a.outputs[name] for a in apart]))
    for i, count in enumerate(together.counts):
        assert count.macs == sum(a.counts[i].macs for a in apart)
        assert count.outputs == sum(a.counts[i].outputs for a in apart)


@pytest.mark.parametrize("seed", range(30, 42))
def test_counted_macs_are_the_nest_s(seed: int) -> None:
    program, inputs = _all_runs(seed)
    samples = _samples(inputs)
    for command, count in zip(program.commands, Machine(program).run(inputs).counts, strict=True):
        inner = command.command if isinstance(command, Host) else command
        expected = macs(inner.nest) * samples if isinstance(inner, Matmul) else 0
        assert count.macs == expected
        assert count.outputs == samples * program.placements[command.ofmap].spec.elements


@pytest.mark.parametrize("threads", [2, 3, 40])
def test_threads_change_nothing(threads: int) -> None:
    for seed in (3, 50, 51):
        program, inputs = _all_runs(seed)
        names = [c.ofmap for c in program.commands]
        alone = Machine(program).run(inputs, keep=names, carry=False)
        shared = Machine(program).run(inputs, keep=names, carry=False, threads=threads)
        assert shared.counts == alone.counts
        for one, other in ((alone.outputs, shared.outputs), (alone.tensors, shared.tensors)):
            assert set(one) == set(other)
            for name, values in one.items():
                np.testing.assert_array_equal(other[name], values)


def test_kept_tensors_are_those_of_their_command() -> None:
    program, inputs = _all_runs(3)
    names = [c.ofmap for c in program.commands]
    machine = Machine(program)
    kept = machine.run(inputs, keep=names)
    assert set(kept.tensors) == set(names)
    for name in program.outputs:
        np.testing.assert_array_equal(kept.tensors[name], kept.outputs[name])


@pytest.mark.golden
def test_a_convolution_of_ones_by_hand() -> None:
    """Every output is the number of taps inside the image, on an array of one PE, row by row."""
    one = np.float32(1)
    tensors = [
        Tensor("x", (1, 3, 3, 1), "i8", one, -1),
        Tensor("w", (1, 3, 3, 1), "i8", one, data=np.ones((1, 3, 3, 1), np.int8)),
        Tensor("b", (1,), "i32", one, data=np.zeros(1, np.int32)),
        Tensor("y", (1, 3, 3, 1), "i8", one),
    ]
    options = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    op = Op("CONV_2D", ["x", "w", "b"], "y", options)
    graph = read_tflite(build_model(tensors, [op], ["x"], ["y"]), "ones")
    content = device_dict(rows=1, cols=1)
    content["accumulator"]["capacity_bytes"] = 24  # three sums, twice
    program = compile_graph(graph, device_from_dict(content, "one PE"))
    assert tile_count(product_of(program.commands[0]).nest) == 3
    y = Machine(program).run({"x": np.zeros((1, 1, 3, 3, 1), np.int8)}).outputs["y"]
    assert y.reshape(3, 3).tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]
