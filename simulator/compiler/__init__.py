"""Graph and device to program: lower, tile, place, schedule."""

from simulator.compiler.compile import compile_graph

__all__ = ["compile_graph"]
