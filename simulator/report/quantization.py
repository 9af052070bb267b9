"""What quantizing a model did to it, as text and JSON."""

from __future__ import annotations

import math
from typing import Any

from tabulate import tabulate

from simulator.graph import Graph
from simulator.npu import versions
from simulator.quantization.equalization import PRODUCTS
from simulator.quantization.post_training import LayerWeights, PostTraining
from simulator.quantization.scheme import Scheme
from simulator.report.text import short_name, size

SCHEMA_VERSION = 1


def signal_to_noise_db(error: float) -> float:
    """Of a sum of squared errors over that of the values."""
    return -10 * math.log10(error) if error > 0 else math.inf


def weight_bytes(layer: LayerWeights) -> int:
    """What a layer's weights take as codes, with tables and factors; scales and bias apart."""
    found = layer.weights
    return -(-found.coding.stored_bits(found.levels.shape) // 8)


def quantization_report(found: PostTraining, accuracies: dict[str, float]) -> str:
    """A row for each layer with weights, and what all of them take."""
    rows, total, before = [], 0, 0
    for layer in found.layers:
        took = weight_bytes(layer)
        total, before = total + took, before + 4 * layer.weights.levels.size
        scales = layer.weights.scales.size
        rows.append([
            short_name(layer.node.outputs[0]), layer.node.operator, layer.quantizer,
            f"{8 * took / layer.weights.levels.size:.2f}", scales,
            _decibels(layer.error), size(took),
        ])  # fmt: skip
    headers = ["layer", "operator", "quantizer", "bits", "scales", "SQNR in dB", "weights"]
    lines = [
        tabulate(rows, headers, disable_numparse=True, colalign=("left",) * 3 + ("right",) * 4), "",
        f"weights   {size(total)} ({size(before)} in float32: {before / total:.1f} times smaller)",
    ]  # fmt: skip
    lines += [f"accuracy  {100 * top1:.2f} % top-1, {what}" for what, top1 in accuracies.items()]
    return "\n".join(lines)


def training_report(graph: Graph, method: str, accuracies: dict[str, float]) -> str:
    """What a trained model's weights take, and what it scores."""
    bits = elements = 0
    for node in graph.nodes:
        if node.operator in PRODUCTS:
            tensor = graph.tensors[node.inputs[1]]
            plain = tensor.spec.elements * tensor.spec.bits
            bits += tensor.coding.stored_bits(tensor.spec.shape) if tensor.coding else plain
            elements += tensor.spec.elements
    lines = [f"trained   {method}, {bits / elements:.2f} bits a weight, {size(-(-bits // 8))}"]
    lines += [f"accuracy  {100 * top1:.2f} % top-1, {what}" for what, top1 in accuracies.items()]
    return "\n".join(lines)


def _decibels(error: float) -> str:
    return "exact" if error == 0 else f"{signal_to_noise_db(error):.1f}"


def quantization_to_dict(
    found: PostTraining, scheme: Scheme, accuracies: dict[str, float]
) -> dict[str, Any]:
    """Everything ``npusim quantize`` says."""
    settings = {**vars(scheme), "layer_bits": dict(scheme.layer_bits)}
    return {
        "schema_version": SCHEMA_VERSION, "versions": versions(),
        "model": {"name": found.float_graph.name, "sha256": found.float_graph.sha256},
        "scheme": settings, "profile": found.graph.profile,
        "layers": [
            {
                "name": layer.node.outputs[0], "operator": layer.node.operator,
                "quantizer": layer.quantizer, "code_bits": layer.weights.coding.bits,
                "codes_per_weight": 1 / layer.weights.coding.vector,
                "scales": int(layer.weights.scales.size), "weight_bytes": weight_bytes(layer),
                "relative_squared_error": layer.error,
            }
            for layer in found.layers
        ],
        "top1": accuracies,
    }  # fmt: skip
