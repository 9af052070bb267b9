"""A small network that becomes every kind of command on a device without softmax."""

from __future__ import annotations

from typing import Any

import numpy as np
from random_devices import device_dict
from tflite_builder import Op, Tensor, build_model

from simulator.graph import Graph
from simulator.hwconfig import Device, device_from_dict
from simulator.importers.tflite import read_tflite

_SIZE, _CHANNELS = 6, 4


def network() -> Graph:
    """Conv 3 x 3, PAD, conv 3 x 3 VALID, ADD of both convolutions, SOFTMAX, RESHAPE."""
    rng = np.random.default_rng(0)
    image, padded = (1, _SIZE, _SIZE, _CHANNELS), (1, _SIZE + 2, _SIZE + 2, _CHANNELS)
    flat = (1, _SIZE * _SIZE * _CHANNELS)
    amounts = np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)
    kernel = (_CHANNELS, 3, 3, _CHANNELS)
    scale, w_scale = np.float32(0.05), np.float32(0.01)
    unit = np.float32(1 / 256)

    def weights(name: str) -> Tensor:
        return Tensor(name, kernel, "i8", w_scale, 0, rng.integers(-128, 128, kernel, np.int8))

    def bias(name: str) -> Tensor:
        values = rng.integers(-500, 500, _CHANNELS, np.int32)
        return Tensor(name, (_CHANNELS,), "i32", scale * w_scale, 0, values)

    tensors = [
        Tensor("x", image, "i8", scale, 3), weights("w1"), bias("b1"), Tensor("a", image, "i8", scale, 3),
        Tensor("amounts", (4, 2), "i32", data=amounts), Tensor("p", padded, "i8", scale, 3),
        weights("w2"), bias("b2"), Tensor("c", image, "i8", scale, 3),
        Tensor("s", image, "i8", scale, 3), Tensor("m", image, "i8", unit, -128),
        Tensor("shape", (2,), "i32", data=np.array(flat, np.int32)), Tensor("y", flat, "i8", unit, -128),
    ]  # fmt: skip
    stride = {"StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    ops = [
        Op("CONV_2D", ["x", "w1", "b1"], "a", {"Padding": 0, **stride}),
        Op("PAD", ["a", "amounts"], "p"),
        Op("CONV_2D", ["p", "w2", "b2"], "c", {"Padding": 1, **stride}),
        Op("ADD", ["a", "c"], "s"),
        Op("SOFTMAX", ["s"], "m", {"Beta": 1.0}),
        Op("RESHAPE", ["m", "shape"], "y", {"NewShape": list(flat)}),
    ]
    return read_tflite(build_model(tensors, ops, ["x"], ["y"]), "every_command.tflite")


def device(softmax: bool, scratchpad_bytes: int = 1 << 16, **array: Any) -> Device:
    """A device on which the network runs whole, or with its SOFTMAX on the host."""
    content = device_dict(7, 13, scratchpad_bytes)
    content["array"].update(array)
    functions = ["add", "average_pool", "max_pool", "rescale"] + ["softmax"] * softmax
    content["vector"]["functions"] = functions
    return device_from_dict(content, "every command")
