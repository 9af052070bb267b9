"""From nodes to commands: each operator lowers itself, and what the device cannot do goes to the host."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from simulator.compiler.host import unmet_rules
from simulator.errors import CompileError, ModelError
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import operator_of
from simulator.ops._common import Lowered, whole_copy
from simulator.program.commands import Command, Host, Matmul, Move
from simulator.program.nest import macs
from simulator.program.program import shared_weights
from simulator.tensor import TensorSpec


@dataclass(frozen=True)
class LoweredGraph:
    """``root_of``: every tensor of the program -> the tensor whose bytes it names. ``kept``: tensors that
    hold a constant or a state. ``offsets``: bytes from the beginning of its root to a tensor that is a part
    of it.
    """

    commands: tuple[Command, ...]
    constants: dict[str, np.ndarray]
    root_of: dict[str, str]
    specs: dict[str, TensorSpec]
    kept: dict[str, np.ndarray]
    offsets: dict[str, int] = field(default_factory=dict)

    @cached_property
    def sharers(self) -> dict[int, list[int]]:
        """Matmuls by their weights: the first that has them -> all that can use the same copy."""
        found: dict[tuple[str, ...], list[int]] = {}
        for i, command in enumerate(self.commands):
            if isinstance(command, Matmul):
                found.setdefault(shared_weights(command), []).append(i)
        return {commands[0]: commands for commands in found.values()}


def _on_host(graph: Graph, lowered: Lowered, command: Command, device: Device) -> Command:
    """``command``, or a Host command around it where the device does not meet a rule."""
    if isinstance(command, Move | Host):
        return command
    reasons = unmet_rules(command, lambda n: lowered.tensors.get(n) or graph.spec(n), device)
    if not reasons:
        return command
    if isinstance(command, Matmul):
        operations = macs(command.nest) * 2
    else:
        nest = command.nest
        outputs = nest.batch * nest.out_h * nest.out_w * nest.groups * nest.n
        operations = outputs * command.lane.cycles
    return Host(command, operations, f"the device does not meet: {'; '.join(reasons)}")


def _lower_node(graph: Graph, node: Node, device: Device) -> Lowered:
    described = operator_of(graph, node)
    try:
        lowered = described.lower(graph, node, device)
    except ModelError as error:
        where = f"{graph.name}: {node.operator.upper()} {node.name!r}"
        raise ModelError(where, f"{error.where}: {error.problem}", error.allowed) from None
    commands = tuple(_on_host(graph, lowered, c, device) for c in lowered.commands)
    return replace(lowered, commands=commands)


def _states(graph: Graph, root_of: dict[str, str]) -> list[Command]:
    """At the very end, every state takes its next value."""
    moves: list[Command] = []
    for state in graph.states:
        source, spec = state.following, graph.spec(state.name)
        if root_of[source] == state.name:
            continue
        if root_of[source] in graph.state_names:
            raise ModelError(
                f"{graph.name}: state {state.name!r}", f"takes the value of state {source!r}",
                "a value that an operator makes",
            )  # fmt: skip
        name = f"{state.name}/next"
        moves.append(Move(name, "assign_variable", (source,), state.name, (whole_copy(spec),)))
    return moves


def lower_graph(graph: Graph, device: Device) -> LoweredGraph:
    commands: list[Command] = []
    constants: dict[str, np.ndarray] = {}
    root_of = {name: name for name in (*graph.inputs, *(s.name for s in graph.states))}
    specs = {name: graph.spec(name) for name in root_of}
    kept = {s.name: graph.constants[s.name] for s in graph.states}
    for node in graph.nodes:
        lowered = _lower_node(graph, node, device)
        commands += lowered.commands
        specs |= {name: graph.spec(name) for name in node.outputs if name} | dict(lowered.tensors)
        root_of |= {name: name for name in (*node.outputs, *lowered.tensors) if name}
        for name, source in lowered.aliases.items():
            if name in graph.outputs and root_of[source] in graph.state_names:
                # At the end the state holds its next value already.
                copy = (whole_copy(graph.spec(name)),)
                commands.append(Move(name, node.operator, (source,), name, copy))
            else:
                root_of[name] = root_of[source]
        kept |= {n: v for n, v in lowered.constants.items() if n in lowered.tensors}
        constants |= {n: v for n, v in lowered.constants.items() if n not in lowered.tensors}
        for name in (n for command in lowered.commands for n in command.inputs):
            if name not in root_of:  # a constant of the model, read as a tensor
                root_of[name], specs[name] = name, graph.spec(name)
                kept[name] = graph.constants[name]
    commands += _states(graph, root_of)
    if not commands:
        raise CompileError(graph.name, "has nothing to run", "at least one operator")
    return LoweredGraph(tuple(commands), constants, root_of, specs, kept)
