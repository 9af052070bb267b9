"""Output codes over labelled and real data equal LiteRT's, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
from real_models import graph_of, labelled, litert, real_inputs
from variants import split, unified, variant

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.hwconfig import Device
from simulator.npu import load_model, simulate
from simulator.workload import Dataset, load_dataset

_BATCH = 250


def small(room: int) -> Device:
    return variant("wear", {
        "array.rows": 7, "array.cols": 13, "scratchpad": split(4 * room, room, room),
    })  # fmt: skip


def output_codes(model: str, device: Device, inputs: np.ndarray) -> np.ndarray:
    graph = graph_of(model)
    machine = Machine(compile_graph(graph, device))
    found = [
        machine.run({graph.inputs[0]: inputs[start : start + _BATCH]}).outputs[graph.outputs[0]]
        for start in range(0, inputs.shape[0], _BATCH)
    ]
    return np.concatenate(found).reshape(inputs.shape[0], -1)


def litert_codes(model: str, inputs: np.ndarray) -> np.ndarray:
    return litert(model, inputs, only_output=True).tensors[graph_of(model).outputs[0]]


def test_resnet_on_cifar10_sample_by_sample() -> None:
    x, y = labelled("cifar10_test_first2000.npz")
    result = simulate(graph_of("resnet"), small(8192), Dataset("cifar10", x, y))
    codes = litert_codes("resnet", real_inputs("resnet", 2000))
    assert result.accuracy is not None
    assert result.accuracy.inputs == "pixels"
    predicted = result.accuracy.predictions
    assert predicted.tolist() == codes.argmax(axis=1).tolist()
    assert result.accuracy.correct == int((codes.argmax(axis=1) == y).sum())
    # LiteRT 2.3.0's reference kernels, here. Its optimised ones get 1745 and 443 (the 88.6 % of
    # ../shared/data/README.md): their codes differ on 845 of the images.
    assert result.accuracy.correct == 1754
    assert int((predicted[:500] == y[:500]).sum()) == 445
    assert result.totals.overflows == 0


def test_resnet_output_codes_on_cifar10() -> None:
    inputs = real_inputs("resnet", 500)
    device = variant("ethos-u55-256", {"array.dataflow": "output_stationary"})
    assert np.array_equal(output_codes("resnet", device, inputs), litert_codes("resnet", inputs))


def test_keywords_sample_by_sample() -> None:
    _, y = labelled("kws01.npz")
    inputs = real_inputs("kws", 1000)
    found = output_codes("kws", small(4096), inputs)
    assert np.array_equal(found, litert_codes("kws", inputs))
    # 90.1 %, as ../shared/data/README.md has it.
    assert int((found.argmax(axis=1) == y).sum()) == 901


@pytest.mark.parametrize(
    ("model", "count"), [("vww", 125), ("ad01", 200), ("str_ww", 200), ("digits", 1000)]
)
def test_output_codes_on_real_inputs(model: str, count: int) -> None:
    inputs = real_inputs(model, count)
    device = variant("wear", {"array.rows": 7, "array.cols": 13, "scratchpad": unified(8192)})
    assert np.array_equal(output_codes(model, device, inputs), litert_codes(model, inputs))


def test_digits_accuracy() -> None:
    result = simulate(load_model("digits"), small(2048), load_dataset("digits"))
    assert result.accuracy is not None
    assert result.accuracy.samples == 1000
    assert result.accuracy.top1 >= 0.98
