"""Operators: one file each, named after the TFLite operator in lower case.

A file provides

* ``SUMMARY``: one line; ``COMMAND``: the command it becomes;
* ``RULES``: functions (graph, node) -> bool that a model must meet; the docstring is the rule;
* ``DEVICE_RULES``: functions (graph, node, device) -> bool; where one fails the host runs it;
* ``infer(graph, node)``: the shape of its output;
* ``reference(graph, node, inputs)``: its value by definition, slow and independent of the datapath;
* ``lower(graph, node, device)``: its command, not yet tiled or placed.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops._common import DeviceRule, Lowered, Rule


class Operator(Protocol):
    """What a file of this folder provides."""

    SUMMARY: str
    COMMAND: str
    RULES: tuple[Rule, ...]
    DEVICE_RULES: tuple[DeviceRule, ...]

    def infer(self, graph: Graph, node: Node) -> tuple[int, ...]: ...

    def reference(self, graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray: ...

    def lower(self, graph: Graph, node: Node, device: Device) -> Lowered: ...


@cache
def operator_names() -> tuple[str, ...]:
    """Names of all operators, from the files of this folder."""
    return tuple(sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py")))


def operator(name: str) -> Operator:
    """The operator called ``name``; KeyError if there is none."""
    if name not in operator_names():
        raise KeyError(name)
    module: Any = import_module(f"simulator.ops.{name}")
    return cast(Operator, module)
