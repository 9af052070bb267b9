"""SCALE-Sim's files: topologies (``.csv``, of convolutions or of matrix products) and configurations
(``.cfg``), as its versions 2 and 3 read them."""

from __future__ import annotations

import configparser
import csv
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simulator.errors import DeviceError, ModelError
from simulator.fixedpoint.width import ceil_div
from simulator.graph import Graph
from simulator.graph.ir import Attributes, GraphTensor, Node, attributes
from simulator.hwconfig import DATAFLOWS
from simulator.importers._check import check_graph
from simulator.program.nest import Nest, padded_size, untiled
from simulator.tensor import QuantParams, TensorSpec

_CONVOLUTION = (
    "ifmap height",
    "ifmap width",
    "filter height",
    "filter width",
    "channels",
    "num filter",
)
_PRODUCT = ("m", "n", "k")
_SPLIT = "DP"  # in a layer's name: one layer for each channel
_MOST = 1 << 24  # of any size: what they multiply to stays far within 64 bits
_MOST_WEIGHTS = 1 << 30
_SHORT = {"ws": "weight_stationary", "os": "output_stationary", "is": "input_stationary"}


class Layer(NamedTuple):
    """A layer by its name in the file, of one tile."""

    name: str
    nest: Nest


class Configuration(NamedTuple):
    """What a configuration says of the array. ``user_bandwidth``: SCALE-Sim adds stalls of an interface."""

    name: str
    rows: int
    cols: int
    dataflow: int
    user_bandwidth: bool


def _text(path: Path, kind: type[ModelError] | type[DeviceError]) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise kind(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise kind(str(path), f"is not text: {error}", "UTF-8") from None


def read_topology(path: Path) -> list[Layer]:
    """Layers of a topology. Sizes include padding; a depthwise layer is whatever its numbers say, unless
    its name holds ``DP``: then it is a layer of one channel for each channel, as SCALE-Sim has it."""
    rows = [
        (number, [field.strip() for field in row])
        for number, row in enumerate(csv.reader(_text(path, ModelError).splitlines()), 1)
    ]
    rows = [(number, row) for number, row in rows if any(row)]
    if not rows:
        raise ModelError(str(path), "is empty", "a SCALE-Sim topology")
    names = [name.lower() for name in rows[0][1][1:] if name]
    if tuple(names[:3]) == _PRODUCT:
        columns, read = ["M", "N", "K"], _product
    elif tuple(names[:6]) == _CONVOLUTION:
        columns, read = [*_CONVOLUTION, "stride"], _convolution
    else:
        allowed = f"Layer, {', '.join(_CONVOLUTION)}, strides; or Layer, M, N, K"
        raise ModelError(f"{path}: line {rows[0][0]}", f"columns {', '.join(names)}", allowed)
    layers: list[Layer] = []
    for number, row in rows[1:]:
        where = f"{path}: line {number}"
        fields = [text for text in row[1:] if text and not text.startswith("#")]
        if fields and ":" in fields[-1]:
            _dense(where, fields.pop())
        numbers = [_size(where, text) for text in fields]
        most = len(columns) + (read is _convolution)  # a stride each way
        if not len(columns) <= len(numbers) <= most:
            problem = f"{len(numbers)} numbers"
            raise ModelError(where, problem, f"{', '.join(columns)}")
        layers += read(where, row[0], numbers)
    if not layers:
        raise ModelError(str(path), "has no layer")
    return layers


def _dense(where: str, ratio: str) -> None:
    """Version 3 has a ratio of weights kept, N:M, behind the numbers."""
    kept, _, of = ratio.partition(":")
    if kept.strip() != of.strip():
        raise ModelError(where, f"sparse weights, {ratio[:40]!r}", "dense ones, 1:1")


def _size(where: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:12]) <= _MOST:
        raise ModelError(where, f"{text[:40]!r}", f"a whole number from 1 to {_MOST}")
    return int(text)


def _product(where: str, name: str, numbers: list[int]) -> list[Layer]:
    m, n, k = numbers
    return [Layer(name, untiled(out=(m, 1), n=n, k=k, ifmap=(m, 1)))]


def _convolution(where: str, name: str, numbers: list[int]) -> list[Layer]:
    height, width, kernel_h, kernel_w, channels, filters, stride_h, *rest = numbers
    stride = stride_h, rest[0] if rest else stride_h
    if kernel_h > height or kernel_w > width:
        problem = f"a filter of {kernel_h} x {kernel_w} on an ifmap of {height} x {width}"
        raise ModelError(where, problem, "a filter that fits")
    out = (
        ceil_div(height - kernel_h + stride[0], stride[0]),
        ceil_div(width - kernel_w + stride[1], stride[1]),
    )

    def layer(own: str, k: int) -> Layer:
        nest = untiled(
            out=out, n=filters, k=k, kernel=(kernel_h, kernel_w), stride=stride,
            ifmap=(height, width),
        )  # fmt: skip
        return Layer(own, nest)

    if _SPLIT in name:
        return [layer(f"{name}Channel_{c}", 1) for c in range(channels)]
    return [layer(name, channels)]


def topology_graph(path: Path) -> Graph:
    """A topology as a model of int8 layers: for cycles and energy, as its weights are all 0.

    A topology does not say what feeds what, so every layer has an input and an output of the model's own.
    """
    tensors: dict[str, GraphTensor] = {}
    constants: dict[str, np.ndarray] = {}
    nodes: list[Node] = []

    def tensor(name: str, shape: tuple[int, ...], scale: float) -> str:
        codes = QuantParams((scale,), (0,))
        tensors[name] = GraphTensor(name, TensorSpec(shape, "i8"), codes, len(tensors))
        return name

    layers = read_topology(path)
    size = sum(x.nest.kernel_h * x.nest.kernel_w * x.nest.k * x.nest.n for x in layers)
    if size > _MOST_WEIGHTS:
        raise ModelError(str(path), f"{size} weights", f"at most {_MOST_WEIGHTS} to run as a model")
    for number, (name, nest) in enumerate(layers, 1):
        convolution = nest.in_w > 1 or nest.kernel_h > 1
        if convolution:
            x: tuple[int, ...] = (1, nest.in_h, nest.in_w, nest.k)
            w: tuple[int, ...] = (nest.n, nest.kernel_h, nest.kernel_w, nest.k)
            y: tuple[int, ...] = (1, nest.out_h, nest.out_w, nest.n)
        else:
            x, w, y = (nest.out_h, nest.k), (nest.n, nest.k), (nest.out_h, nest.n)
        own = f"{number} {name}"
        operands = tensor(f"{own}/ifmap", x, 1.0), tensor(f"{own}/weights", w, 2.0**-7)
        constants[operands[1]] = np.zeros(w, np.int8)
        operator = "conv_2d" if convolution else "fully_connected"
        nodes.append(
            Node(own, operator, operands, (tensor(f"{own}/ofmap", y, 1.0),), _attributes(nest, convolution))
        )  # fmt: skip
    graph = Graph(
        path.name, "tflite", tensors, constants, tuple(nodes), tuple(n.inputs[0] for n in nodes),
        tuple(n.outputs[0] for n in nodes), hashlib.sha256(path.read_bytes()).hexdigest(),
    )  # fmt: skip
    return check_graph(graph)


def _attributes(nest: Nest, convolution: bool) -> Attributes:
    """A window that ends beyond the ifmap is padded there."""
    if not convolution:
        return attributes(activation="NONE", weights_format="DEFAULT", keep_dims=0)
    reach_h, reach_w = padded_size(nest)
    return attributes(
        activation="NONE", stride_h=nest.stride_h, stride_w=nest.stride_w, dilation_h=1, dilation_w=1,
        pad_top=0, pad_left=0, pad_bottom=max(reach_h - nest.in_h, 0),
        pad_right=max(reach_w - nest.in_w, 0),
    )  # fmt: skip


def read_config(path: Path) -> Configuration:
    """The array of a configuration, and whether its interface has a bandwidth of its own."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(_text(path, DeviceError))
    except configparser.Error as error:
        raise DeviceError(str(path), f"is no configuration: {error}") from None
    section = "architecture_presets"

    def value(key: str, where: str = section) -> str:
        if not parser.has_option(where, key):
            raise DeviceError(str(path), f"has no {key} in [{where}]")
        return parser.get(where, key).strip()

    def size(key: str) -> int:
        text = value(key)
        if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= 1 << 16:
            raise DeviceError(f"{path}: {key}", repr(text), f"a whole number from 1 to {1 << 16}")
        return int(text)

    dataflow, bandwidth = value("Dataflow"), value("InterfaceBandwidth", "run_presets")
    if dataflow not in _SHORT:
        raise DeviceError(f"{path}: Dataflow", repr(dataflow), ", ".join(_SHORT))
    if bandwidth not in ("CALC", "USER"):
        raise DeviceError(f"{path}: InterfaceBandwidth", repr(bandwidth), "CALC, USER")
    name = parser.get("general", "run_name", fallback=path.stem).strip().strip('"')
    code = DATAFLOWS.index(_SHORT[dataflow])  # type: ignore[arg-type]
    return Configuration(name, size("ArrayHeight"), size("ArrayWidth"), code, bandwidth == "USER")
