"""Operators: one file each, named after the TFLite operator in lower case.

A file provides

* ``SUMMARY``: one line; ``COMMAND``: the command it becomes;
* ``RULES``: functions (graph, node) -> bool that a model must meet; the docstring is the rule;
* ``PROFILES``: numeric profile -> how its arithmetic under that profile is known (``profiles``);
* ``infer(graph, node)``: the shape of its output, or a list of them where it has several;
* ``reference(graph, node, inputs)``: its value by definition (a list where it has several outputs),
  slow and independent of the datapath; ``inputs`` are the values of the node's activations and states
  in order, constants come from the graph;
* ``lower(graph, node, device)``: its commands, not yet tiled or placed;
* ``DATA`` (optional): which of its inputs hold elements rather than say what to do with them. A node
  whose ``DATA`` are all constants is evaluated when a model is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from simulator.errors import ModelError
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops._common import Lowered, Rule
from simulator.ops._stage import runtime_in_float
from simulator.profiles import AS_DEFAULT, CHOSEN, MOVEMENT, SOURCE

# Operators that ONNX Runtime leaves in float32 in some graphs, where we follow it.
_FOLLOWED_IN_FLOAT = ("add", "mul")
# What evaluating a node takes for an element that goes in or comes out: two copies of 64 bits.
_FOLDED_BYTES = 16

Shapes = tuple[int, ...] | list[tuple[int, ...]]
Arrays = np.ndarray | list[np.ndarray]


class Operator(Protocol):
    """What a file of this folder provides."""

    SUMMARY: str
    COMMAND: str
    RULES: tuple[Rule, ...]
    PROFILES: Mapping[str, str]

    def infer(self, graph: Graph, node: Node) -> Shapes: ...

    def reference(self, graph: Graph, node: Node, inputs: list[np.ndarray]) -> Arrays: ...

    def lower(self, graph: Graph, node: Node, device: Device) -> Lowered: ...


@cache
def operator_names(profile: str = "") -> tuple[str, ...]:
    """Names of all operators, from the files of this folder, and of ``profile``'s own folder."""
    folder = Path(__file__).parent
    files = [*folder.glob("[a-z]*.py"), *(folder / profile).glob("[a-z]*.py")]
    return tuple(sorted({p.stem for p in files}))


@cache
def own_operators(profile: str) -> tuple[str, ...]:
    """Names of operators that have a file of their own for ``profile``."""
    return tuple(sorted(p.stem for p in (Path(__file__).parent / profile).glob("[a-z]*.py")))


def operator(name: str, profile: str = "") -> Operator:
    """The operator called ``name`` as ``profile`` computes it; KeyError if there is none."""
    if name not in operator_names(profile):
        raise KeyError(name)
    own = f".{profile}" if profile and name in own_operators(profile) else ""
    module: Any = import_module(f"simulator.ops{own}.{name}")
    return module


def operator_of(graph: Graph, node: Node) -> Operator:
    """The operator of ``node`` in the arithmetic of the graph's profile."""
    try:
        return operator(node.operator, graph.profile)
    except KeyError:
        where = f"{graph.name}: {node.operator.upper()} {node.name!r}"
        problem = f"has no arithmetic in profile {graph.profile}"
        raise ModelError(where, problem, "the profile of the model's file") from None


def evidence(described: Operator, profile: str) -> str:
    """How the arithmetic of an operator under ``profile`` is known: a word of ``profiles``."""
    if profile in described.PROFILES:
        return described.PROFILES[profile]
    words = described.COMMAND.removeprefix("a ").replace(",", " ").split()
    return MOVEMENT if words[0] in ("move", "none") and "matmul" not in words else AS_DEFAULT


def node_evidence(graph: Graph, node: Node) -> str:
    """The same of one node: one word, our own where the runtime computes in float32 and we do not."""
    if runtime_in_float(node) and node.operator not in _FOLLOWED_IN_FLOAT:
        return CHOSEN
    word, _, types = evidence(operator_of(graph, node), graph.profile).partition(" (")
    if types and graph.spec(node.inputs[0]).dtype not in types.removesuffix(")").split(", "):
        return SOURCE
    return word


def output_shapes(graph: Graph, node: Node) -> list[tuple[int, ...]]:
    """The shapes of all outputs of ``node``."""
    found = operator_of(graph, node).infer(graph, node)
    return found if isinstance(found, list) else [found]


def reference_values(graph: Graph, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The values of all outputs of ``node`` by its naive reference."""
    found = operator_of(graph, node).reference(graph, node, inputs)
    return found if isinstance(found, list) else [found]


def constant_values(
    graph: Graph, node: Node, take: Callable[[int, str], None] | None = None
) -> list[np.ndarray] | None:
    """The values of the outputs of ``node`` if it has ``DATA``, all constants, and meets the operator's
    rules; ``graph`` holds nothing but the node.

    ``take`` is told before how many bytes that takes, and where; it may raise.
    """
    if node.operator not in operator_names(graph.profile):
        return None
    described = operator_of(graph, node)
    data = getattr(described, "DATA", None)
    moved = node.inputs[data] if data is not None else ()
    if not moved or not all(graph.constant(name) for name in moved):
        return None
    rest = {name: v for name, v in graph.constants.items() if name not in moved}
    names = tuple(dict.fromkeys((*graph.inputs, *moved)))
    shown = replace(graph, constants=rest, inputs=names)
    if not all(rule(shown, node) for rule in described.RULES):
        return None
    if output_shapes(shown, node) != [graph.spec(name).shape for name in node.outputs]:
        return None
    if take is not None:
        # Not sum(): here that is the operator of this name.
        elements = int(np.sum([graph.spec(name).elements for name in (*moved, *node.outputs)]))
        take(_FOLDED_BYTES * elements, f"{graph.name}: {node.operator.upper()} {node.name!r}")
    return reference_values(shown, node, [graph.constants[name] for name in moved])
