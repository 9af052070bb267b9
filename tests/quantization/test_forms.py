"""Files of other forms: ranges made at run time, and QONNX's quantizers of any width.

Both are held to the tools they are for, in every tensor: ONNX Runtime and QONNX's own execution.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from float_networks import CLASSES, samples, write_network
from onnx import numpy_helper

from simulator.crosscheck import verify
from simulator.energy.counts import Counts
from simulator.energy.model import EnergyModel
from simulator.errors import UsageError
from simulator.hwconfig import Device, load_device, with_keys
from simulator.npu import load_model, simulate
from simulator.program.commands import Host, Vector
from simulator.quantization.calibration import narrow_ranges
from simulator.quantization.float_graph import run_float
from simulator.quantization.post_training import prepared
from simulator.quantization.scheme import Scheme
from simulator.quantizing import (
    load_float_model,
    quantize_graph,
    real_samples,
    scored,
    write_quantized,
)
from simulator.result import Result
from simulator.tensor import QuantParams
from simulator.workload import Dataset

DYNAMIC = Scheme(ranges="dynamic")


def _written(tmp_path: Path, scheme: Scheme, seed: int = 0, **network: Any) -> Path:
    graph = load_float_model(write_network(tmp_path / "net.onnx", seed, **network))
    path = tmp_path / "made.onnx"
    write_quantized(quantize_graph(graph, samples(32), scheme, "onnxruntime"), path)
    return path


@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize("per", ["channel", "tensor"])
@pytest.mark.parametrize("seed", [0, 1])
def test_dynamic_ranges_equal_onnx_runtime(tmp_path: Path, six: bool, per: str, seed: int) -> None:
    pytest.importorskip("onnxruntime")
    path = _written(tmp_path, Scheme(ranges="dynamic", per=per), seed, six=six)
    data = Dataset("x", samples(12, 5), np.zeros(12, np.int64))
    found = verify(str(path), load_device("edge-stick"), samples=12, data=data, inputs="real")
    assert found.different == 0, found.first_difference
    kinds = [n.op_type for n in onnx.load(path).graph.node]
    assert kinds.count("ConvInteger") == 5
    assert kinds.count("MatMulInteger") == 1
    # One for each tensor that products read: conv5 and conv6 share theirs, which pooling keeps.
    assert kinds.count("DynamicQuantizeLinear") == 5


def test_dynamic_ranges_follow_each_input(tmp_path: Path) -> None:
    """Samples of very different sizes: a static range has too few levels for the small ones."""
    graph = load_float_model(write_network(tmp_path / "net.onnx"))
    x = samples(16, 3)
    mixed = np.concatenate([x * 50, x * 0.02])
    errors = {}
    for ranges in ("static", "dynamic"):
        made = quantize_graph(graph, mixed, Scheme(ranges=ranges), "onnxruntime")
        last = made.float_graph.nodes[-1].inputs[0]
        wanted = (
            run_float(made.float_graph, mixed[16:], [last])[last].reshape(16, -1).argmax(axis=1)
        )
        data = scored(made.graph, Dataset("x", mixed[16:], wanted), None)
        result = simulate(made.graph, load_device("edge-stick"), data, inputs="real")
        assert result.accuracy is not None
        errors[ranges] = 1 - result.accuracy.top1
    assert errors["dynamic"] == 0
    assert errors["static"] > 0


def _devices() -> dict[str, Device]:
    base = load_device("edge-stick")
    lanes = {"float32": True}
    return {
        "host": base, "lanes": with_keys(base, {"vector": lanes}),
        "reducer": with_keys(base, {"vector": {**lanes, "range_reducer": True}}),
    }  # fmt: skip


def test_what_dynamic_ranges_cost_on_a_device(tmp_path: Path) -> None:
    path = _written(tmp_path, DYNAMIC)
    results: dict[str, Result] = {}
    for name, device in _devices().items():
        results[name] = simulate(load_model(path), device)
        found = verify(str(path), device, samples=4)
        assert found.different == 0, (name, found.first_difference)
    host, lanes, reducer = (results[n] for n in ("host", "lanes", "reducer"))

    def functions(result: Result) -> list[str]:
        return [c.function for c in result.program.commands if isinstance(c, Vector)]

    assert any(isinstance(c, Host) for c in host.program.commands)
    for result in (lanes, reducer):
        assert not any(isinstance(c, Host) for c in result.program.commands)
    assert functions(lanes).count("extremes") == 5
    # The image comes from outside: nobody has seen it being written. Pooled codes have the ends of theirs.
    assert functions(reducer).count("extremes") == 1
    assert functions(reducer).count("seen_extremes") == 4
    assert host.totals.cycles > lanes.totals.cycles > reducer.totals.cycles
    assert lanes.totals.energy_pj > reducer.totals.energy_pj
    assert host.totals.area_mm2 < lanes.totals.area_mm2 < reducer.totals.area_mm2


def test_float32_costs_what_it_costs_over_integers() -> None:
    """By Horowitz's numbers: 9 times an addition, 1.19 times a multiplication."""
    nothing = Counts(*[0] * len(Counts._fields))
    device = load_device("edge-stick")
    model = EnergyModel(device, device.operating_point())
    cost = {
        name: model.command_pj(nothing._replace(**{name: 1000}), 0)["vector"]
        for name in ("vector_adds", "float_adds", "vector_multiplies", "float_multiplies")
    }
    assert cost["float_adds"] == pytest.approx(9 * cost["vector_adds"])
    assert cost["float_multiplies"] == pytest.approx(3.7 / 3.1 * cost["vector_multiplies"])


QONNX = [(8, 8), (8, 4), (4, 4), (3, 2), (2, 6)]


@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize(("weights", "activations"), QONNX)
def test_a_qonnx_file_equals_qonnx(
    tmp_path: Path, weights: int, activations: int, six: bool
) -> None:
    """Scales are powers of two, so that QONNX's float32 sums are exact, biases aside."""
    pytest.importorskip("qonnx")
    scheme = Scheme(
        bits=weights, activation_bits=activations, form="qonnx", scale="power_of_two", per="tensor"
    )
    path = _written(tmp_path, scheme, six=six, padding=False)
    data = Dataset("x", samples(10, 5), np.zeros(10, np.int64))
    found = verify(str(path), load_device("edge-stick"), samples=10, data=data, inputs="real")
    assert found.different == 0, found.first_difference


def test_a_qonnx_file_states_its_widths(tmp_path: Path) -> None:
    scheme = Scheme(bits=3, activation_bits=4, form="qonnx", edge_bits=8, rounding="adaround")
    path = _written(tmp_path, scheme, padding=False)
    model = onnx.load(path)
    known = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    widths = {n.output[0]: int(known[n.input[3]]) for n in model.graph.node if n.op_type == "Quant"}
    weights = [bits for name, bits in widths.items() if name.endswith("/weights")]
    others = [bits for name, bits in widths.items() if not name.endswith("/weights")]
    assert weights == [8, 3, 3, 3, 3, 8]
    assert sorted(others)[-2:] == [8, 8]  # the input and the logits
    assert set(sorted(others)[:-2]) == {4}
    for name in (n for n in widths if n.endswith("/weights")):
        scale = known[f"{name}/scale"]
        steps = known[f"{name}/numbers"] / scale
        assert np.abs(steps - np.rint(steps)).max() < 1e-4
        assert np.abs(steps).max() < 1 << (widths[name] - 1)


def test_narrow_ranges_by_their_definition(tmp_path: Path) -> None:
    graph = prepared(
        load_float_model(write_network(tmp_path / "net.onnx", padding=False)), Scheme()
    )
    x = samples(16)
    kept = run_float(graph, x, [n.outputs[0] for n in graph.nodes])
    found = narrow_ranges(graph, x, Scheme(activation_bits=4, form="qonnx"), None)
    for name in ("relu1", "pointwise3"):
        values, of = kept[name], found[name]
        steps = 15 if values.min() >= 0 else 7
        assert of.bits == 4
        assert of.params.scale == pytest.approx(np.abs(values).max() / steps, rel=1e-5)
        assert of.params.zero_point == (-128 if values.min() >= 0 else 0)
        assert of.high - of.params.zero_point == steps
    given = QuantParams((0.5,), (3,))
    assert narrow_ranges(graph, x, Scheme(form="qonnx"), given)["image"].params == given


@pytest.mark.parametrize(
    ("settings", "profile", "message"),
    [({"ranges": "dynamic"}, "tflite", "ranges dynamic: in profile tflite; allowed: an .onnx file"),
     ({"ranges": "dynamic", "bits": 4}, "onnxruntime",
      "ranges dynamic: symmetric weights of 4 bits; allowed: symmetric ones of 8 bits"),
     ({"ranges": "dynamic", "weights": "asymmetric", "per": "tensor"}, "onnxruntime",
      "ranges dynamic: asymmetric weights of 8 bits; allowed: symmetric ones of 8 bits"),
     ({"form": "qonnx"}, "tflite", "form qonnx: in profile tflite; allowed: an .onnx file"),
     ({"form": "qonnx", "weights": "kmeans", "bits": 4}, "onnxruntime",
      "form qonnx: kmeans weights; allowed: symmetric, symmetric_full, msqe")],
)  # fmt: skip
def test_forms_that_are_refused(
    tmp_path: Path, settings: dict[str, Any], profile: str, message: str
) -> None:
    graph = load_float_model(write_network(tmp_path / "net.onnx", padding=False))
    with pytest.raises(UsageError) as error:
        quantize_graph(graph, samples(8), Scheme(**settings), profile)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"activation_bits": 4}, "activations: 4 bits; allowed: 8, or 2 to 8 in form qonnx"),
     ({"activation_bits": 1, "form": "qonnx"}, "activations: 1 bits; allowed: 8, or 2 to 8 in form qonnx"),
     ({"ranges": "dynamic", "form": "qonnx"}, "ranges dynamic: in form qonnx; allowed: form standard"),
     ({"ranges": "often"}, "ranges: 'often'; allowed: static, dynamic"),
     ({"form": "json"}, "form: 'json'; allowed: standard, qonnx")],
)  # fmt: skip
def test_schemes_that_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        Scheme(**settings)
    assert str(error.value) == message


def test_integer_samples_of_a_float_input_are_brought_to_numbers(tmp_path: Path) -> None:
    path = _written(tmp_path, DYNAMIC)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 9, 3)).astype(np.uint8)
    params = QuantParams((0.02,), (0,))
    data = Dataset("x", pixels, np.zeros(6, np.int64))
    given = scored(load_model(path), data, params)
    assert given.x.dtype == np.float32
    assert (given.x == real_samples(pixels, params)).all()
    assert len(run_float(load_float_model(tmp_path / "net.onnx"), given.x)["classes"]) == 6
    assert CLASSES == 5
