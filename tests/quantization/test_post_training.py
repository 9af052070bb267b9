"""Quantized models: equal to the runtimes that read their files, better by each remedy, and near float."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from float_networks import samples, write_network
from real_models import SHARED, graph_of, labelled

from simulator.coding import Coding
from simulator.crosscheck import verify
from simulator.errors import DataError, ModelError, NpusimError, UsageError
from simulator.exporters import model_bytes, profile_of, save_model
from simulator.graph import Graph
from simulator.hwconfig import load_device
from simulator.importers import load_graph
from simulator.npu import exact_device, load_model, simulate
from simulator.quantization.adaround import Moments, adaround, moments, output_error
from simulator.quantization.equalization import PRODUCTS
from simulator.quantization.float_graph import run_float
from simulator.quantization.scheme import Scheme
from simulator.quantizers import quantizer, quantizer_names
from simulator.quantizing import (
    float_top1,
    input_params,
    input_rule,
    load_float_model,
    quantize_graph,
    real_samples,
    write_quantized,
)
from simulator.tensor import QuantParams
from simulator.workload import Dataset

DEVICE = "edge-stick"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return load_float_model(write_network(tmp_path_factory.mktemp("net") / "net.onnx"))


def _bits(name: str) -> int:
    fewest, most = quantizer(name).BITS
    return min(max(fewest, 4), most)


def _scheme(name: str, bits: int, **more: object) -> Scheme:
    per = "tensor" if name == "asymmetric" else "channel"
    return Scheme(name, bits, per, group=4, **more)  # type: ignore[arg-type]


ONNX_CASES = [(name, _bits(name)) for name in quantizer_names()]
ONNX_CASES += [("symmetric", 2), ("symmetric", 7), ("symmetric", 8), ("asymmetric", 8)]
ONNX_CASES += [("symmetric_full", 8), ("groups", 2), ("product", 8), ("stochastic", 8)]


def _equal(path: Path, count: int = 4) -> None:
    """Every tensor of the file's runtime is ours."""
    x = samples(count, 5)
    data = Dataset("samples", x, np.zeros(count, np.int64))
    found = verify(str(path), load_device(DEVICE), samples=count, data=data, inputs="real")
    assert found.different == 0, found.first_difference
    assert not [t.name for t in found.tensors if t.not_visible]


@pytest.mark.parametrize(("name", "bits"), ONNX_CASES)
def test_onnxruntime_computes_what_we_do(
    network: Graph, tmp_path: Path, name: str, bits: int
) -> None:
    found = quantize_graph(network, samples(40), _scheme(name, bits), "onnxruntime")
    path = tmp_path / "out.onnx"
    graph = write_quantized(found, path)
    _equal(path)
    ours = {n.outputs[0]: n for n in found.graph.nodes if n.operator in PRODUCTS}
    for node in (n for n in graph.nodes if n.operator in PRODUCTS):
        mine = ours[node.outputs[0]].inputs[1]
        theirs = node.inputs[1]
        read = graph.constants[theirs].astype(np.int64) - graph.quantization(theirs).zero_point
        point = found.graph.quantization(mine).zero_point
        kept = found.graph.constants[mine].astype(np.int64) - point
        assert (read == kept).all()
        assert _same(graph.tensors[theirs].coding, found.graph.tensors[mine].coding, kept)


def _same(read: Coding | None, made: Coding | None, levels: np.ndarray) -> bool:
    """What is read of a file is as narrow, or narrower where no weight needs the rest."""
    if read is None or made is None:
        return read == made
    factors = read.factor_bits <= made.factor_bits
    return (
        read.stored_bits(levels.shape) <= made.stored_bits(levels.shape)
        and (read.table, read.group) == (made.table, made.group)
        and factors
    )


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("per", ["channel", "tensor"])
@pytest.mark.parametrize("six", [False, True])
def test_litert_computes_what_we_do(tmp_path: Path, bits: int, per: str, six: bool) -> None:
    net = load_float_model(write_network(tmp_path / "net.onnx", 3, six))
    scheme = Scheme(bits=bits, per=per, rounding="adaround", correct_bias=True, equalize=True)
    path = tmp_path / "out.tflite"
    graph = write_quantized(quantize_graph(net, samples(40), scheme, "tflite"), path)
    _equal(path)
    weights = {graph.spec(n.inputs[1]).dtype for n in graph.nodes if n.operator in PRODUCTS}
    assert weights == {f"i{bits}"}


@pytest.mark.parametrize("scale", ["power_of_two", "dyadic"])
def test_scales_of_a_kind_reach_the_file(network: Graph, tmp_path: Path, scale: str) -> None:
    found = quantize_graph(network, samples(40), Scheme(scale=scale), "tflite")
    path = tmp_path / "out.tflite"
    graph = write_quantized(found, path)
    _equal(path)
    for name, tensor in graph.tensors.items():
        if tensor.quantization is None or tensor.spec.bits > 8:
            continue
        for s in tensor.quantization.scales:
            mantissa, _ = np.frexp(s)
            exact = mantissa == 0.5 if scale == "power_of_two" else mantissa * 256 % 1 == 0
            assert exact or tensor.quantization.scale == 1 / 256, name


def test_pixels_are_codes_of_the_input(network: Graph, tmp_path: Path) -> None:
    pixels = np.clip(np.rint(samples(40) * 40 + 128), 0, 255).astype(np.uint8)
    params = input_params(pixels, 1 / 40, 128)
    assert params == QuantParams((float(np.float32(1 / 40)),), (0,))
    assert real_samples(pixels, params)[0, 0, 0, 0] == pytest.approx(
        (int(pixels[0, 0, 0, 0]) - 128) / 40
    )
    for suffix in (".tflite", ".onnx"):
        path = tmp_path / f"out{suffix}"
        found = quantize_graph(network, pixels, Scheme(), profile_of(path), params)
        graph = write_quantized(found, path)
        labels = run_float(network, real_samples(pixels, params))[network.outputs[0]].argmax(1)
        if suffix == ".onnx":
            assert graph.spec("image").dtype == "u8"
            codes = pixels
        else:
            codes = (pixels.astype(np.int16) - 128).astype(np.int8)
        data = Dataset("pixels", codes, labels)
        result = simulate(graph, exact_device(), data)
        assert result.accuracy is not None
        assert result.accuracy.top1 >= 0.9
        assert float_top1(network, Dataset("pixels", pixels, labels), params) == 1.0


# --- remedies --------------------------------------------------------------------------------------------


def _logit_error(graph: Graph, scheme: Scheme, x: np.ndarray) -> float:
    """Mean squared error of the logits, by the quantized weights alone."""
    found = quantize_graph(graph, x, scheme, "tflite")
    constants, wanted = dict(found.float_graph.constants), "logits"
    for layer in found.layers:
        constants[layer.node.inputs[1]] = layer.weights.real.astype(np.float32)
        if layer.bias is not None:
            constants[layer.node.inputs[2]] = layer.bias
    made = run_float(replace(found.float_graph, constants=constants), x, [wanted])[wanted]
    exact = run_float(found.float_graph, x, [wanted])[wanted]
    return float(((made - exact) ** 2).mean())


@pytest.mark.parametrize("seed", range(4))
def test_each_remedy_brings_outputs_nearer(tmp_path: Path, seed: int) -> None:
    graph, x = load_float_model(write_network(tmp_path / "net.onnx", seed)), samples(64, seed)
    plain = _logit_error(graph, Scheme(bits=4), x)
    rounded = _logit_error(graph, Scheme(bits=4, rounding="adaround"), x)
    corrected = _logit_error(graph, Scheme(bits=4, correct_bias=True), x)
    both = _logit_error(graph, Scheme(bits=4, rounding="adaround", correct_bias=True), x)
    assert rounded < 0.6 * plain
    assert corrected < plain
    assert both < 0.5 * plain


def test_equalizing_helps_where_channels_differ_and_one_scale_serves_all(tmp_path: Path) -> None:
    errors = []
    for seed in range(6):
        graph = load_float_model(write_network(tmp_path / "net.onnx", seed))
        x = samples(32, seed)
        errors.append([
            _logit_error(graph, Scheme(bits=6, per="tensor", equalize=e), x) for e in (False, True)
        ])  # fmt: skip
    assert np.log(np.array(errors)).mean(axis=0)[1] < np.log(np.array(errors)).mean(axis=0)[0]


def test_corrected_biases_leave_no_mean_error(network: Graph) -> None:
    x = samples(64)
    found = quantize_graph(network, x, Scheme(bits=3, correct_bias=True), "tflite")
    first = found.layers[0]
    graph = found.float_graph
    params = found.graph.quantization(graph.inputs[0])
    x = x.transpose(0, 2, 3, 1)
    codes = np.clip(np.rint(x / np.float32(params.scale)) + params.zero_point, -128, 127)
    seen = ((codes - params.zero_point) * np.float32(params.scale)).astype(np.float32)
    plain = replace(
        first.node,
        attrs=tuple((k, "NONE" if k == "activation" else v) for k, v in first.node.attrs),
    )
    from simulator.quantization.float_graph import apply

    source = plain.inputs[0]  # the image, turned
    weights, bias = first.weights.real.astype(np.float32), first.bias
    assert bias is not None
    made = apply(graph, plain, {source: seen, plain.inputs[1]: weights, plain.inputs[2]: bias})
    exact = apply(graph, plain, {source: x})
    assert np.abs((made - exact).mean(axis=(0, 1, 2))).max() < 1e-4


@pytest.mark.parametrize("seed", range(12))
def test_adaround_is_near_the_best_of_all_roundings(seed: int) -> None:
    random = np.random.default_rng(seed)
    k, outputs = 8, 3
    mix = random.normal(0, 1, (k, k))
    exact = random.normal(0, 1, (1, 200, k)) @ mix
    given = exact + random.normal(0, 0.05, exact.shape)
    of = moments(exact, given)
    weights = random.normal(0, 1, (outputs, k))
    scales = np.abs(weights).max(axis=1) / 3
    low = high = np.full((outputs, 1), 3.0)
    found = adaround(weights, scales, -low, high, of) * scales[:, None]
    near = np.clip(np.rint(weights / scales[:, None]), -3, 3) * scales[:, None]
    floor = np.floor(weights / scales[:, None])
    constant = np.einsum("ok,kj,oj->o", weights, (exact[0].T @ exact[0]), weights)
    for row in range(outputs):
        one = slice(row, row + 1)
        best = min(
            float(output_error(weights[one], steps * scales[row], of)[0])
            for sides in product((0, 1), repeat=k)
            for steps in [np.clip(floor[one] + np.array([sides]), -3, 3)]
        )
        ours = float(output_error(weights[one], found[one], of)[0])
        nearest = float(output_error(weights[one], near[one], of)[0])
        whole = float(constant[row])
        assert ours <= nearest
        # What the best and ours leave of the outputs' squares.
        assert ours + whole <= 4.0 * (best + whole) + 1e-3 * whole
        assert best - 1e-6 * whole <= ours


def test_output_errors_are_those_of_outputs() -> None:
    random = np.random.default_rng(0)
    exact, given = random.normal(0, 1, (2, 5, 50, 4))
    weights, rounded = random.normal(0, 1, (2, 5, 4))
    of = moments(exact, given)
    assert isinstance(of, Moments)
    outputs = np.einsum("ok,osk->os", weights, exact), np.einsum("ok,osk->os", rounded, given)
    wanted = ((outputs[0] - outputs[1]) ** 2).sum(axis=1) - (outputs[0] ** 2).sum(axis=1)
    assert output_error(weights, rounded, of) == pytest.approx(wanted)


# --- bits of layers, and what is refused ------------------------------------------------------------------


def test_layers_may_have_bits_of_their_own(network: Graph) -> None:
    scheme = Scheme(bits=3, edge_bits=8, layer_bits={"relu5": 6})
    found = quantize_graph(network, samples(20), scheme, "onnxruntime")
    bits = {layer.node.outputs[0]: layer.weights.coding.bits for layer in found.layers}
    assert len(set(bits)) == 6
    values = list(bits.values())
    assert values[0] == values[-1] == 8
    assert sorted(values) == [3, 3, 3, 6, 8, 8]


def test_a_bias_far_beyond_its_weights_fits(network: Graph) -> None:
    constants = dict(network.constants)
    constants["conv5_w"] = constants["conv5_w"].copy()
    name = next(
        n for n in network.nodes if n.outputs[0] == "relu5" or "conv5_w" in n.inputs
    ).inputs[1]
    constants[name] = constants[name].copy()
    constants[name][0] *= np.float32(1e-20)
    found = quantize_graph(replace(network, constants=constants), samples(20), Scheme(), "tflite")
    layer = next(n for n in found.graph.nodes if n.name == "relu5" or "relu5" in n.outputs)
    bias = found.graph.constants[layer.inputs[2]]
    assert np.abs(bias.astype(np.int64)).max() <= 1 << 30


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"weights": "linear"}, "quantizer: 'linear'; allowed: additive_power_of_two"),
    ({"bits": 9}, "weights symmetric: 9 bits; allowed: 2 to 8"),
    ({"weights": "ternary"}, "weights ternary: 8 bits; allowed: 2"),
    ({"per": "row"}, "per: 'row'; allowed: channel, tensor"),
    ({"limits": "max"}, "limits: 'max'; allowed: aciq"),
    ({"activation_limits": "max"}, "activation limits: 'max'; allowed: aciq"),
    ({"scale": "half"}, "scale: 'half'; allowed: float"),
    ({"rounding": "up"}, "rounding: 'up'; allowed: nearest, adaround"),
    ({"rounding": "adaround", "weights": "kmeans", "bits": 4}, "with kmeans; allowed: symmetric"),
    ({"weights": "asymmetric"}, "weights asymmetric: per channel; allowed: per tensor"),
    ({"edge_bits": 1}, "bits of a layer: 1; allowed: 2 to 8"),
    ({"layer_bits": {"a": 16}}, "bits of a layer: 16; allowed: 2 to 8"),
    ({"group": 0}, "group: 0; allowed: 1 to 64"),
    ({"vector": 65}, "vector: 65; allowed: 1 to 64"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_schemes_that_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Scheme(**settings)  # type: ignore[arg-type]


def test_files_that_cannot_say_it(network: Graph, tmp_path: Path) -> None:
    for scheme, form in ((Scheme(bits=3), "in 3 bits"), (Scheme("kmeans", 4), "from a table"),
                         (Scheme("groups", 4), "in groups")):  # fmt: skip
        found = quantize_graph(network, samples(20), scheme, "tflite")
        with pytest.raises(ModelError, match=f"weights {form} are nothing a .tflite file can say"):
            write_quantized(found, tmp_path / "out.tflite")
        assert not (tmp_path / "out.tflite").exists()
    with pytest.raises(UsageError, match=r"suffix '.pt'; allowed: .tflite, .onnx"):
        profile_of(tmp_path / "out.pt")
    found = quantize_graph(network, samples(20), Scheme(), "tflite")
    with pytest.raises(UsageError, match="a model in profile tflite"):
        save_model(found.graph, tmp_path / "out.onnx")
    with pytest.raises(NpusimError, match="a model in profile tflite"):
        write_quantized(found, tmp_path / "out.onnx")
    digits = load_model("digits")
    assert load_graph_of(model_bytes(digits), tmp_path).nodes[-1].operator == "softmax"


def load_graph_of(content: bytes, folder: Path) -> Graph:
    path = folder / "again.tflite"
    path.write_bytes(content)
    return load_graph(path)


def test_a_shipped_model_written_again_is_the_same(tmp_path: Path) -> None:
    digits = load_model("digits")
    again = load_graph_of(model_bytes(digits), tmp_path)
    assert [n.operator for n in again.nodes] == [n.operator for n in digits.nodes]
    for ours, theirs in zip(digits.nodes, again.nodes, strict=True):
        assert ours.attrs == theirs.attrs
        for a, b in zip(ours.inputs, theirs.inputs, strict=True):
            assert digits.tensors[a].quantization == again.tensors[b].quantization
            if a in digits.constants:
                assert (digits.constants[a] == again.constants[b]).all()


def test_samples_that_are_refused(network: Graph) -> None:
    x = samples(4)
    with pytest.raises(DataError, match="NaN or infinity; allowed: finite samples"):
        quantize_graph(network, x * np.float32(np.nan), Scheme(), "tflite")
    with pytest.raises(DataError, match="no samples"):
        quantize_graph(network, x[:0], Scheme(), "tflite")
    pixels = x.astype(np.uint8)
    with pytest.raises(UsageError, match="input scale: is not given, and samples are uint8"):
        input_params(pixels, None, None)
    with pytest.raises(UsageError, match="samples: are int32; allowed: float32, int8 or uint8"):
        input_params(x.astype(np.int32), 1.0, 0)
    with pytest.raises(UsageError, match="input zero point: 300; allowed: 0 to 255"):
        input_params(pixels, 1.0, 300)
    with pytest.raises(UsageError, match=r"input scale: 1\.0 of float32 samples"):
        input_params(x, 1.0, 0)


# --- MLPerf Tiny ------------------------------------------------------------------------------------------

TINY = {
    "resnet": ("pretrainedResnet", "cifar10_test_first2000.npz"),
    "kws": ("kws_ref_model_float32", "kws01.npz"),
}


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_mlperf_tiny_in_8_bits_is_as_good_as_the_official_files(name: str, suffix: str) -> None:
    """Calibrated on samples that are not scored."""
    float_file, file = TINY[name]
    x, y = labelled(file)
    official = graph_of(name)
    graph = load_float_model(SHARED / "mlperf_tiny" / f"{float_file}.tflite")
    params = input_params(x, None, None, official)
    profile = profile_of(f"out{suffix}")
    scheme = Scheme(limits="mse", activation_limits="mse")
    found = quantize_graph(graph, x[-200:], scheme, profile, params)
    scored = Dataset(file, x[:-200], y[:-200])
    ours, theirs = (
        simulate(g, exact_device(), scored, inputs=input_rule(g, x)).accuracy
        for g in (found.graph, official)
    )
    assert ours is not None
    assert theirs is not None
    assert ours.top1 >= theirs.top1 - 0.005


@pytest.mark.parametrize("name", TINY)
def test_adaround_in_4_bits_is_better_than_rounding_to_nearest(name: str) -> None:
    float_file, file = TINY[name]
    x, y = labelled(file)
    graph = load_float_model(SHARED / "mlperf_tiny" / f"{float_file}.tflite")
    params = input_params(x, None, None, graph_of(name))
    scored = Dataset(file, x[:-200], y[:-200])
    found = {}
    for rounding in ("nearest", "adaround"):
        scheme = Scheme(bits=4, limits="mse", activation_limits="mse", rounding=rounding)
        made = quantize_graph(graph, x[-200:], scheme, "tflite", params)
        accuracy = simulate(made.graph, exact_device(), scored).accuracy
        assert accuracy is not None
        found[rounding] = accuracy.top1
    assert found["adaround"] >= found["nearest"] + 0.02
    assert found["adaround"] >= float_top1(graph, scored, params) - 0.025
