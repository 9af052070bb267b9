"""The models and labelled data of ``../shared/data``, and LiteRT's tensors on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.datapath.machine import Machine
from simulator.graph import Graph
from simulator.npu import load_model
from simulator.program.program import Program
from simulator.workload import model_path

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

FILES = {
    "resnet": "mlperf_tiny/pretrainedResnet_quant.tflite",
    "kws": "mlperf_tiny/kws_ref_model.tflite",
    "vww": "mlperf_tiny/vww_96_int8.tflite",
    "ad01": "mlperf_tiny/ad01_int8.tflite",
    "str_ww": "mlperf_tiny/str_ww_ref_model.tflite",
    "mobilenet_v1": "coral/mobilenet_v1_0.25_128_quant.tflite",
    "mobilenet_v2": "coral/mobilenet_v2_1.0_224_quant.tflite",
    "hello_world": "tflite_micro/hello_world_int8.tflite",
    "micro_speech": "tflite_micro/micro_speech_quantized.tflite",
}
MLPERF = ("resnet", "kws", "vww", "ad01", "str_ww")


def path_of(name: str) -> Path:
    """The file of a model; skips the test where ``../shared`` is not there."""
    if name not in FILES:
        return model_path(name)
    path = SHARED / FILES[name]
    if not path.is_file():
        pytest.skip(f"needs {path}, which is not part of the project")
    return path


@cache
def graph_of(name: str) -> Graph:
    return load_model(path_of(name))


@cache
def labelled(file: str) -> tuple[np.ndarray, np.ndarray]:
    """``x`` and ``y`` of a labelled set."""
    path = SHARED / "labelled" / file
    if not path.is_file():
        pytest.skip(f"needs {path}, which is not part of the project")
    with np.load(path) as arrays:
        return arrays["x"], arrays["y"].astype(np.int64)


def _pixels(x: np.ndarray) -> np.ndarray:
    return (x.astype(np.int16) - 128).astype(np.int8)


def real_inputs(name: str, count: int) -> np.ndarray:
    """``count`` real inputs as codes: (count, *input shape).

    For ad01 and str_ww no real frames are at hand; theirs are windows over real keyword features.
    """
    shape = graph_of(name).spec(graph_of(name).inputs[0]).shape
    if name == "resnet":
        x = _pixels(labelled("cifar10_test_first2000.npz")[0][:count])
    elif name == "vww":
        # Every other pixel of the middle 192 x 192.
        x = _pixels(labelled("imagenet_samples_125_224.npz")[0][:count, 16:208:2, 16:208:2])
    elif name == "digits":
        with np.load(model_path(name).with_name("digits_test.npz")) as arrays:
            x = _pixels(arrays["x"][:count])
    elif name == "kws":
        x = labelled("kws01.npz")[0][:count]
    else:
        elements = int(np.prod(shape))
        flat = labelled("kws01.npz")[0].reshape(-1)
        x = np.stack([flat[490 * i : 490 * i + elements] for i in range(count)])
    return x.reshape(-1, *shape)


def random_inputs(name: str, count: int, seed: int = 0) -> np.ndarray:
    """Codes over the input's whole range: (count, *input shape)."""
    spec = graph_of(name).spec(graph_of(name).inputs[0])
    rng = np.random.default_rng(seed)
    drawn = rng.integers(spec.minimum, spec.maximum + 1, (count, *spec.shape))
    return drawn.astype(spec.container)


@dataclass(frozen=True)
class Reference:
    """LiteRT's tensors, by our names: (samples, elements of the tensor in the file)."""

    inputs: np.ndarray
    tensors: Mapping[str, np.ndarray]
    operators: int  # of the file


def litert(name: str, inputs: np.ndarray, only_output: bool = False) -> Reference:
    """Run LiteRT's reference kernels on ``inputs``, one sample after another."""
    module: Any = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = module.Interpreter(
        model_path=str(path_of(name)),
        experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    graph = graph_of(name)
    wanted = graph.outputs if only_output else [node.outputs[0] for node in graph.nodes]
    found: dict[str, list[np.ndarray]] = {tensor: [] for tensor in wanted}
    for sample in inputs:
        interpreter.set_tensor(graph.tensors[graph.inputs[0]].key, sample)
        interpreter.invoke()
        for tensor, values in found.items():
            values.append(interpreter.get_tensor(graph.tensors[tensor].key).reshape(-1).copy())
    operators = len(interpreter._get_ops_details())
    return Reference(inputs, {t: np.stack(v) for t, v in found.items()}, operators)


def ours(program: Program, graph: Graph, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Our value of every tensor that an operator of ``graph`` makes: (samples, elements)."""
    machine, samples = Machine(program), inputs.shape[0]
    values = machine.run({graph.inputs[0]: inputs}, keep=graph.tensors).tensors
    flat = {graph.inputs[0]: inputs.reshape(samples, -1)}
    for node in graph.nodes:
        # A RESHAPE may have no command of its own: the same bytes under another name.
        name, source = node.outputs[0], node.inputs[0]
        flat[name] = values[name].reshape(samples, -1) if name in values else flat[source]
    del flat[graph.inputs[0]]
    return flat
