"""What is trained is what is written is what runs: every tensor, every method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from float_networks import samples, write_network

from simulator.crosscheck import verify
from simulator.datapath.machine import Machine
from simulator.graph import Graph
from simulator.hwconfig import load_device
from simulator.importers._check import check_graph
from simulator.npu import compile, exact_device
from simulator.quantizing import load_float_model, write_graph
from simulator.workload import Dataset

pytest.importorskip("torch")

import torch

from simulator.training.activations import METHODS as ACTIVATIONS
from simulator.training.network import QuantizedNetwork
from simulator.training.train import Lesson, Training, train
from simulator.training.weights import METHODS


def _trained(path: Path, how: Training, six: bool = False) -> tuple[QuantizedNetwork, np.ndarray]:
    graph = load_float_model(write_network(path / "net.onnx", 0, six))
    x = samples(48)
    labels = np.random.default_rng(0).integers(0, 5, 48)
    return train(graph, Lesson(x, labels), how), samples(16, 7)


def _codes(net: QuantizedNetwork, x: np.ndarray) -> dict[str, np.ndarray]:
    found: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        net(torch.from_numpy(x), found)
    return {name: value.numpy() for name, value in found.items()}


def _same(graph: Graph, codes: dict[str, np.ndarray]) -> None:
    """The datapath's tensors are the training's."""
    program = compile(graph, exact_device())
    first = graph.inputs[0]
    given = {first: codes[first].astype(np.uint8)}
    values = Machine(program).run(given, keep=set(codes) - {first})
    compared = set(codes) & set(values.tensors)
    assert len(compared) >= 10
    for name in compared:
        ours = values.tensors[name].reshape(codes[name].shape[0], -1)
        assert (ours == codes[name].reshape(ours.shape)).all(), name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("activations", ACTIVATIONS)
def test_the_forward_pass_is_the_datapath(tmp_path: Path, method: str, activations: str) -> None:
    per = "tensor" if method in ("msqe", "gradient", "tqt") else "channel"
    how = Training(method, 4, per, activations, None, 2, 16)
    net, x = _trained(tmp_path, how, six=activations == "lsq")
    _same(check_graph(net.quantized()), _codes(net, x))


def test_the_forward_pass_is_the_datapath_with_norms_that_are_trained(tmp_path: Path) -> None:
    how = Training("gradient", 4, "tensor", epochs=3, batch=16, norms="trained")
    net, x = _trained(tmp_path, how)
    _same(check_graph(net.quantized()), _codes(net, x))


@pytest.mark.parametrize(("method", "bits"), [("lsq", 2), ("lsq", 8), ("dorefa", 3), ("binary", 4)])
def test_the_file_is_the_forward_pass_in_its_runtime(
    tmp_path: Path, method: str, bits: int
) -> None:
    net, x = _trained(tmp_path, Training(method, bits, epochs=2, batch=16))
    path = tmp_path / "out.onnx"
    graph = write_graph(check_graph(net.quantized()), path)
    _same(check_graph(net.quantized()), _codes(net, x))
    data = Dataset("x", x, np.zeros(len(x), np.int64))
    found = verify(str(path), load_device("edge-stick"), samples=len(x), data=data, inputs="real")
    assert found.different == 0, found.first_difference
    codings = [graph.tensors[n.inputs[1]].coding for n in graph.nodes if len(n.inputs) == 3]
    assert len({c.bits if c else 8 for c in codings}) <= 2


def test_wide_sums_are_exact_too(tmp_path: Path) -> None:
    """Beyond 2**24 float32 would round: such layers sum in float64."""
    from onnx_builder import OnnxBuilder

    b, random = OnnxBuilder(), np.random.default_rng(0)
    b.input("x", [1, 16000])
    weights = b.constant("w", np.abs(random.normal(0, 1, (4, 16000))).astype(np.float32))
    b.node("Gemm", ["x", weights, b.constant("b", np.zeros(4, np.float32))], "y", transB=1)
    b.output("y")
    path = tmp_path / "wide.onnx"
    path.write_bytes(b.write())
    x = np.abs(random.normal(0, 1, (32, 16000))).astype(np.float32)
    labels = random.integers(0, 4, 32)
    net = train(
        load_float_model(path), Lesson(x, labels), Training("tqt", 8, edge_bits=None, epochs=1)
    )
    codes = _codes(net, x)
    graph = check_graph(net.quantized())
    program = compile(graph, exact_device())
    made = Machine(program).run({"x": codes["x"].astype(np.uint8)}).outputs["y"]
    assert (made.reshape(32, -1) == codes["y"]).all()
    sums = codes["x"].astype(np.int64) @ graph.constants[graph.nodes[0].inputs[1]].T.astype(
        np.int64
    )
    assert np.abs(sums).max() > 1 << 24
