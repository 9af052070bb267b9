"""Which operators ONNX Runtime joins to the quantizers around them: as its optimizer leaves the model."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_builder import OnnxBuilder
from onnx_models import read

ort: Any = pytest.importorskip(
    "onnxruntime", reason="the reference runtime is an extra: npusim[verify]"
)

MODELS = int(os.environ.get("NPUSIM_JOINED_MODELS", "150"))
TYPES: dict[str, Any] = {"i8": np.int8, "u8": np.uint8, "i4": "INT4", "u4": "UINT4"}
CODES = {"i8": "INT8", "u8": "UINT8"}
# Float operators of an optimized model -> the operator it came from.
ALONE = {
    "Conv": "Conv", "FusedConv": "Conv", "MatMul": "MatMul", "FusedMatMul": "MatMul", "Gemm": "Gemm",
    "FusedGemm": "Gemm", "Add": "Add", "Mul": "Mul", "AveragePool": "AveragePool",
}  # fmt: skip
OURS = {
    "conv_2d": "Conv", "depthwise_conv_2d": "Conv", "add": "Add", "mul": "Mul",
    "average_pool_2d": "AveragePool",
}  # fmt: skip


class Drawn:
    """A model of a few operators in a row, with branches, each between quantizers of some type."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.b = rng, OnnxBuilder(21)
        self.image = bool(rng.integers(2))
        # One type for all activations mostly, as tools write it.
        self.types = [str(rng.choice(["i8", "u8"]))] if rng.integers(3) else ["i8", "u8"]
        self.shape = (1, 4, 3, 3) if self.image else (4, 4)
        self.count = 0
        self.made = [self._input("x")]

    def _type(self) -> str:
        return str(self.rng.choice(self.types))

    def _input(self, name: str) -> str:
        kind = self._type()
        if self.rng.integers(2):
            self.b.input(name, self.shape)
            return self.b.qdq(name, 0.05, 3, TYPES[kind])
        self.b.input(name, self.shape, CODES[kind])
        stated = self.b.scale(name, 0.05, 3, TYPES[kind])
        return self.b.node("DequantizeLinear", [name, *stated], f"{name}_dq")

    def _weights(self, name: str, shape: tuple[int, ...]) -> str:
        kind = str(self.rng.choice(["i8", "i8", "u8", "i4", "u4"]))
        low, high = (-7, 8) if kind[0] == "i" else (0, 15)
        self.b.constant(f"{name}_w", self.rng.integers(low, high, shape), TYPES[kind])
        self.b.constant(f"{name}_ws", np.float32(0.02))
        self.b.constant(f"{name}_wz", np.zeros((), np.int64), TYPES[kind])
        return self.b.node(
            "DequantizeLinear", [f"{name}_w", f"{name}_ws", f"{name}_wz"], f"{name}_wd"
        )

    def step(self, last: bool) -> None:
        self.count += 1
        rng, b, name = self.rng, self.b, f"t{self.count}"
        x = self.made[-1] if rng.integers(4) else str(rng.choice(self.made))
        products = ["Conv", "Conv"] if self.image else ["MatMul", "Gemm"]
        kind = str(rng.choice([*products, "Add", "Mul", "AveragePool" if self.image else "Add"]))
        if kind in ("Add", "Mul"):
            y = b.node(kind, [x, str(rng.choice(self.made))], name)
        elif kind == "AveragePool":
            y = b.node(kind, [x], name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        else:
            y = b.node(kind, [x, self._weights(name, (4, 4, 1, 1) if self.image else (4, 4))], name)
        if rng.integers(3) == 0:
            y = b.node("Relu", [y], f"{name}_r")
        code = self._type()
        # Zero points at which Relu clamps nothing beyond the codes, and others.
        zero = int(np.iinfo(TYPES[code]).min) if rng.integers(2) else 5
        if last and rng.integers(3) == 0 and kind in products:
            b.output(y)
        elif last and rng.integers(2):
            b.output(b.quantize(y, 0.03, zero, TYPES[code]), CODES[code])
        else:
            self.made.append(b.qdq(y, 0.03, zero, TYPES[code]))
            if rng.integers(6) == 0:
                b.output(f"{y}_q", CODES[code])
            if rng.integers(8) == 0:
                b.output(self.made[-1])

    def write(self) -> bytes:
        """Nothing is without a reader: the runtime would optimize it as well."""
        known = {name for node in self.b.nodes for name in node.input}
        known |= {value.name for value in self.b.outputs}
        for name in self.made:
            if name not in known:
                self.b.output(name)
        return self.b.write()


def model(seed: int) -> bytes:
    rng = np.random.default_rng([seed, 21])
    drawn, steps = Drawn(rng), int(rng.integers(1, 5))
    for i in range(steps):
        drawn.step(last=i == steps - 1)
    return drawn.write()


def left_alone(content: bytes, tmp_path: Path) -> Counter[str]:
    """Float operators in the model as the runtime optimized it, without those whose layout it changes."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimized.onnx").graph.node
    return Counter(ALONE[node.op_type] for node in nodes if node.op_type in ALONE)


def marked(content: bytes) -> Counter[str]:
    """The operators that we say are left alone; matrix products by the name of the file's operator."""
    found: Counter[str] = Counter()
    kinds = {
        name: n.op_type for n in onnx.load_from_string(content).graph.node for name in n.output
    }
    for node in read(content).nodes:
        if dict(node.attrs).get("arithmetic") == "float" or real(content, node.outputs[0]):
            made = node.outputs[0].split("/")[0].removesuffix("_q").removesuffix("_r")
            found[OURS.get(node.operator, kinds.get(made, ""))] += 1
    return found


def real(content: bytes, name: str) -> bool:
    """Whether an operator is one of numbers here as well."""
    graph = read(content)
    maker = next(n for n in graph.nodes if name in n.outputs)
    return maker.operator in ("add", "mul", "average_pool_2d") and graph.spec(name).real


def test_what_the_runtime_leaves_in_float32_is_marked(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for seed in range(MODELS):
        content = model(seed)
        expected, found = left_alone(content, tmp_path), marked(content)
        assert found == expected, f"seed {seed}"
        seen += expected
    assert min(seen[kind] for kind in ("Conv", "MatMul", "Gemm", "Add", "Mul")) > 5
