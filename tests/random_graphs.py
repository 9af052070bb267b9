"""Whole TensorFlow Lite graphs as a hypothesis strategy, and what of them a runtime can be held to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from drawn import Shown, drawn_rng
from hypothesis import assume, reject
from hypothesis import strategies as st
from random_devices import compile_tightly
from random_layers import LAYERS, Layer
from random_networks import CODES, STEPS, Network

from simulator.errors import ModelError
from simulator.graph import Graph, Node
from simulator.graph.text import print_graph
from simulator.importers.tflite import read_tflite
from simulator.ops import reference_values
from simulator.ops._elementwise import eight_bits, ratios
from simulator.program.program import Program

WIDE = {"ifmap_bits": 16, "weight_bits": 16, "accumulator_bits": 48}
DRAWABLE = (*STEPS, *(f"layer {name}" for name in sorted(LAYERS)))
_MOST_AROUND = 3


@dataclass(frozen=True)
class Case(Shown):
    """A graph on a device; printed, it says what a person needs to see the same."""

    steps: tuple[str, ...]
    layer: Layer
    graph: Graph
    program: Program

    def __str__(self) -> str:
        device = self.program.device.model_dump(exclude_defaults=True)
        lines = [f"steps {', '.join(self.steps)}; profile {self.graph.profile}"]
        lines += [print_graph(self.graph).rstrip()]
        lines += [f"constant {name} = {v.tolist()}" for name, v in self.graph.constants.items()]
        lines += [f"values {name} = {v.tolist()}" for name, v in self.layer.inputs.items()]
        lines.append(f"array {device['array']}")
        lines.append(f"scratchpad {device['scratchpad']}, accumulator {device['accumulator']}")
        return "\n".join(lines)


@st.composite
def graphs(draw: st.DrawFn, centre: str, profiles: tuple[str, ...]) -> Case:
    """Step ``centre`` with others before and after it; shapes, types, scales, outputs and the device are
    choices, each of which shrinks."""
    others = st.lists(st.sampled_from(DRAWABLE), max_size=_MOST_AROUND)
    steps = (*draw(others), centre, *draw(others))
    rng = drawn_rng(draw)
    net = Network(rng, draw(st.sampled_from(CODES)))
    for step in steps:
        if step in STEPS:
            STEPS[step](net)
        else:
            net.join(LAYERS[step.removeprefix("layer ")](rng))
    layer = net.finished(_outputs(draw, net))
    graph = read_tflite(layer.content, "graph")
    graph = replace(graph, profile=draw(st.sampled_from(profiles)))
    assume(all(modelled(graph, node) for node in graph.nodes))
    wide = WIDE if draw(st.booleans()) else {}
    try:
        program = compile_tightly(rng, graph, **wide)
    except ModelError as error:
        # Scales and sizes that a profile has no requantization for: tests of operators show each.
        if "requantization: " not in str(error):
            raise
        reject()
    return Case(steps, layer, graph, program)


def _outputs(draw: st.DrawFn, net: Network) -> list[str]:
    """What nothing reads, and now and then what something reads as well."""
    read = {name for op in net.ops for name in op.inputs} | set(net.inputs)
    ends = [t.name for t in net.made if t.name not in read]
    between = [t.name for t in net.made if t.name in read and t.name not in net.inputs]
    more = draw(st.lists(st.sampled_from(between), unique=True, max_size=2)) if between else []
    return [*ends, *more] or [net.made[-1].name]


def modelled(graph: Graph, node: Node) -> bool:
    """Not what the runtime crashes on, or what a test of the operator shows to be refused or left out."""
    if node.operator == "detection_postprocess" and not node.integer("regular"):
        return False  # its unused places are not written
    if graph.profile not in ("ruy", "xnnpack"):
        return True
    x = graph.spec(node.inputs[0])
    if node.operator == "sqrt" and graph.profile == "xnnpack":  # whose quotients are approximate
        return False
    if node.operator == "depthwise_conv_2d":  # crashes without a bias
        return len(node.inputs) > 2 or x.bits > 8
    if (
        node.operator == "mul"
        and graph.profile == "ruy"
        and x.bits == 8
        and eight_bits(graph, node)
    ):
        return 255 * 255 * ratios(graph, node)[0] < 2**15 - 512  # its vector code wraps at 16 bits
    return True


def naive(case: Case) -> Iterator[dict[str, np.ndarray]]:
    """Every tensor of one sample after the other by the operators' references; states are carried on."""
    graph = case.graph
    states = {state.name: graph.constants[state.name] for state in graph.states}
    for sample in range(2 if states else 1):
        known = {name: values[sample] for name, values in case.layer.inputs.items()} | states
        for node in graph.nodes:
            operands = [known[n] for n in node.inputs if n in known]
            made = reference_values(graph, node, operands)
            for name, values in zip(node.outputs, made, strict=True):
                known[name] = values.astype(graph.spec(name).container)
        states = {state.name: known[state.following] for state in graph.states}
        yield known
