"""Training learns, is the same again, goes on from where it stopped, and refuses what it cannot do."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from float_networks import samples, write_network

from simulator import cli
from simulator.errors import DataError, ModelError, UsageError
from simulator.graph import Graph
from simulator.importers._check import check_graph
from simulator.npu import exact_device, simulate
from simulator.quantization.scheme import Scheme
from simulator.quantizing import input_params, load_float_model, quantize_graph, real_samples
from simulator.workload import Dataset, load_dataset

pytest.importorskip("torch")

import torch

from simulator.training.network import QuantizedNetwork
from simulator.training.train import Lesson, Training, network_of, train


@pytest.fixture(scope="module")
def digits() -> tuple[Graph, Lesson, Dataset]:
    """The shipped float model; half of the labelled images to train on, half to score on."""
    data = load_dataset("digits")
    params = input_params(data.x, 1 / 255, 0)
    lesson = Lesson(real_samples(data.x[:500], params), data.y[:500], params)
    return load_float_model("digits-float"), lesson, Dataset("rest", data.x[500:], data.y[500:])


def _top1(graph: Graph, data: Dataset) -> float:
    found = simulate(graph, exact_device(), data).accuracy
    assert found is not None
    return found.top1


@pytest.mark.parametrize(("method", "bits", "scheme"), [
    ("lsq", 2, Scheme("symmetric", 2, limits="mse", edge_bits=8)),
    ("ternary", 2, Scheme("ternary", 2, edge_bits=8)),
])  # fmt: skip
def test_training_brings_back_what_rounding_loses(
    digits: tuple[Graph, Lesson, Dataset], method: str, bits: int, scheme: Scheme
) -> None:
    graph, lesson, rest = digits
    plain = quantize_graph(graph, lesson.x[:200], scheme, "onnxruntime", lesson.params).graph
    before = _top1(plain, rest)
    net = train(graph, lesson, Training(method, bits, epochs=6, batch=50, learning_rate=2e-3))
    after = _top1(check_graph(net.quantized()), rest)
    assert after >= 0.93
    assert after > before + 0.02


def _small(path: Path) -> tuple[Graph, Lesson]:
    x = samples(32)
    return (
        load_float_model(write_network(path / "net.onnx")),
        Lesson(x, np.random.default_rng(0).integers(0, 5, 32)),
    )


def _numbers(graph: Graph) -> list[np.ndarray]:
    return [graph.constants[name] for name in sorted(graph.constants)]


@pytest.mark.parametrize("method", ["lsq", "msqe", "gradient"])
def test_interrupted_or_not_the_same_comes_out(tmp_path: Path, method: str) -> None:
    graph, lesson = _small(tmp_path)
    how = Training(method, 3, "tensor", epochs=5, batch=8)
    whole = train(graph, lesson, how).quantized()
    kept = tmp_path / "state.pt"

    class Stopped(Exception):
        pass

    def stop(epochs: int) -> None:
        seen.append(epochs)
        if len(seen) == 2:
            raise Stopped

    seen: list[int] = []
    with pytest.raises(Stopped):
        train(graph, lesson, how, stop, kept)
    later: list[int] = []
    again = train(graph, lesson, how, later.append, kept).quantized()
    assert len(later) == 3
    assert all((a == b).all() for a, b in zip(_numbers(whole), _numbers(again), strict=True))
    other = Training(method, 4, "tensor", epochs=5, batch=8)
    with pytest.raises(UsageError, match="is of another model, training or data set"):
        train(graph, lesson, other, None, kept)
    kept.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="cannot be read"):
        train(graph, lesson, how, None, kept)


def _means(net: QuantizedNetwork) -> list[np.ndarray]:
    return [p.norm.mean.numpy().copy() for p in net.layers() if p.norm is not None]


def test_batch_norms_are_folded_in_every_step_until_they_freeze(tmp_path: Path) -> None:
    graph, lesson = _small(tmp_path)
    how = Training("lsq", 4, epochs=4, batch=16, norms="trained", norms_until=0.5)
    start = network_of(graph, lesson, how)
    assert len(_means(start)) == 2
    # Before the first step the norms are folded as they are, once and for all.
    once = network_of(graph, lesson, Training("lsq", 4))
    for a, b in zip(start.layers(), once.layers(), strict=True):
        weights, bias = a.eval().folded(lambda: torch.zeros(0))
        assert torch.allclose(weights, b.weights, rtol=1e-5, atol=1e-7)
        assert bias is not None
        assert b.bias is not None
        assert torch.allclose(bias, b.bias, rtol=1e-4, atol=1e-6)
    seen: list[list[np.ndarray]] = []
    original = QuantizedNetwork.train

    def watched(self: QuantizedNetwork, mode: bool = True) -> QuantizedNetwork:
        seen.append(_means(self))
        return original(self, mode)

    QuantizedNetwork.train = watched  # type: ignore[method-assign]
    try:
        net = train(graph, lesson, how)
    finally:
        QuantizedNetwork.train = original  # type: ignore[method-assign]
    moved = [any((a != b).any() for a, b in zip(x, y, strict=True)) for x, y in pairwise(seen)]
    # Two epochs of four move the statistics; in the others, and at the end, they stay.
    assert moved == [True, True, False, False]
    assert all(p.norm.gain.grad is not None for p in net.layers() if p.norm is not None)


def test_running_means_follow_the_batches(tmp_path: Path) -> None:
    graph, lesson = _small(tmp_path)
    net = network_of(graph, lesson, Training("lsq", 8, norms="trained"))
    first = net.layers()[0]
    assert first.norm is not None
    before = first.norm.mean.clone()
    x = torch.from_numpy(lesson.x)
    codes: dict[str, torch.Tensor] = {}
    net.train()
    net(x, codes)
    source = net.activation(first.node.inputs[0])
    image = (codes[first.node.inputs[0]] - source.zero_point) * source.scale
    kernel = first.weights.detach().permute(0, 3, 1, 2)
    sums = torch.nn.functional.conv2d(image.permute(0, 3, 1, 2), kernel, first.bias, padding=1)
    expected = 0.9 * before + 0.1 * sums.mean(dim=(0, 2, 3))
    assert torch.allclose(first.norm.mean, expected.detach(), rtol=1e-3, atol=1e-5)


def test_seeds_decide(tmp_path: Path) -> None:
    graph, lesson = _small(tmp_path)
    made = [
        _numbers(train(graph, lesson, Training("lsq", 3, epochs=2, batch=8, seed=s)).quantized())
        for s in (0, 0, 1)
    ]
    assert all((a == b).all() for a, b in zip(made[0], made[1], strict=True))
    assert not all((a == b).all() for a, b in zip(made[0], made[2], strict=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "magic"}, "method: 'magic'; allowed: lsq, dorefa"),
        ({"per": "row"}, "per: 'row'; allowed: channel, tensor"),
        ({"activations": "wide"}, "activations: 'wide'; allowed: static"),
        ({"epochs": 0}, "epochs: 0; allowed: at least 1"),
        ({"batch": 0}, "batch: 0; allowed: at least 1"),
        ({"bits": 9}, "bits: 9; allowed: 2 to 8"),
        ({"edge_bits": 1}, "edge bits: 1; allowed: 2 to 8"),
        ({"learning_rate": 0.0}, "learning rate: 0; allowed: above 0"),
        ({"stable_from": 2.0}, "stable from: 2; allowed: 0 to 1"),
        ({"norms_until": -1.0}, "norms until: -1; allowed: 0 to 1"),
        ({"weight_decay": -1.0}, "weight decay: -1; allowed: at least 0"),
        ({"norms": "lost"}, "norms: 'lost'; allowed: folded, trained"),
    ],
)
def test_what_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Training(**settings)  # type: ignore[arg-type]


def test_data_and_models_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, lesson = _small(tmp_path)
    with pytest.raises(DataError, match=r"labels 0\.\.7; allowed: 0\.\.4, one per output"):
        train(graph, Lesson(lesson.x, np.array([0, 7] * 16)), Training(epochs=1))
    for bad in (Lesson(lesson.x * np.float32(np.nan), lesson.y), Lesson(lesson.x, lesson.y[:3])):
        with pytest.raises(DataError, match="as many of each, all finite"):
            train(graph, bad, Training(epochs=1))
    nothing = torch.tensor(float("nan"), requires_grad=True)
    monkeypatch.setattr(torch.nn.functional, "cross_entropy", lambda *_: nothing)
    with pytest.raises(UsageError, match="diverged in epoch 0; allowed: a lower learning rate"):
        train(graph, lesson, Training(epochs=1))
    monkeypatch.undo()
    from onnx_builder import OnnxBuilder

    b = OnnxBuilder()
    b.input("x", [1, 4])
    b.node("Tanh", ["x"], "y")
    b.output("y")
    path = tmp_path / "tanh.onnx"
    path.write_bytes(b.write())
    with pytest.raises(ModelError, match="TANH 'y': cannot be trained"):
        train(
            load_float_model(path),
            Lesson(np.ones((4, 4), np.float32), np.zeros(4, np.int64)),
            Training(),
        )


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = load_dataset("digits")
    np.savez("train.npz", x=data.x[:200], y=data.y[:200])
    command = ["train", "digits-float", "--data", "train.npz", "--input-scale", "0.00392157"]
    command += ["--epochs", "2", "--test", "digits", "--method", "gradient", "--per", "tensor"]
    assert cli.main([*command, "-o", "out.onnx", "--resume", "state.pt"]) == 0
    shown = capsys.readouterr().out
    assert "trained   gradient" in shown
    assert "% top-1, quantized" in shown
    assert cli.main(["verify", "out.onnx", "--samples", "5"]) == 0
    assert cli.main([*command, "-o", "out.tflite"]) == 2
    assert "is trained in another arithmetic; allowed: an .onnx file" in capsys.readouterr().err


def test_without_torch_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import sys

    monkeypatch.chdir(tmp_path)
    for name in [n for n in sys.modules if n == "torch" or n.startswith("simulator.training")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert cli.main(["train", "digits-float", "--data", "digits", "-o", "out.onnx"]) == 2
    assert "the package torch is not installed; allowed: pip install 'npusim[train]'" in (
        capsys.readouterr().err
    )


def test_the_command_that_compares_remedies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    command = ["remedies", "digits-float", "--data", "digits", "--test", "digits", "-o", "runs"]
    command += ["--input-scale", "0.00392157", "--samples", "64", "--scored", "100", "--bits", "4"]
    command += ["--seeds", "1", "--batch", "16", "--variants", "untrained,msqe,msqe+mask"]
    assert cli.main([*command, "--json", "study.json"]) == 0
    shown = capsys.readouterr().out
    assert "digits-float: top-1 in %" in shown
    assert "outlier mask  msqe" in shown
    told = json.loads((tmp_path / "study.json").read_text())
    assert [run["variant"] for run in told["runs"]] == ["untrained", "msqe", "msqe+mask"]
    assert len(told["outlier_shifts"]["digits-float"]) == 9
    assert len(list((tmp_path / "runs").iterdir())) == 3
    assert cli.main([*command, "--markdown"]) == 0
    assert "| outlier mask | msqe" in capsys.readouterr().out
    for given, message in (
        (["--variants", "best"], "variants: no variant 'best'; allowed: untrained, lsq, msqe"),
        (["--bits", "four"], "--bits: 'four'; allowed: numbers with commas: 2,4,8"),
        (["--processes", "0"], "processes: 0; allowed: at least 1"),
        (["-o", "none"], "none: there is no such folder; allowed: a folder to keep runs in"),
        (["--epochs", "0"], "epochs: 0; allowed: at least 1"),
        (["--seeds", "0"], "seeds: 0; allowed: at least 1"),
    ):
        assert cli.main([*command, *given]) == 2
        assert capsys.readouterr().err.startswith(f"npusim: {message}")
