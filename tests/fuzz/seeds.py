"""What fuzzing starts from: small sound models of every operator, and broken ones."""

from __future__ import annotations

import broken_tflite
import numpy as np
import qonnx_models
from onnx_models import PAIRS
from random_layers import LAYERS

from simulator.resources import data_folder

_LONGEST = 1 << 16  # longer models mutate slowly and reach nothing more


def tflite_seeds() -> list[bytes]:
    digits = data_folder("workloads") / "digits" / "digits_int8.tflite"
    found = [digits.read_bytes()]
    for name, layer in LAYERS.items():
        found += [layer(np.random.default_rng([seed, len(name)])).content for seed in range(3)]
    found += [broken_tflite.conv_model().write(), broken_tflite.pool_model().write()]
    return [content for content in found if len(content) <= _LONGEST]


def onnx_seeds() -> list[bytes]:
    found = [make() for pair in PAIRS.values() for make in pair]
    for network in (qonnx_models.dense_network, qonnx_models.image_network):
        found += [network(np.random.default_rng(seed))[0] for seed in range(6)]
    return [content for content in found if len(content) <= _LONGEST]
