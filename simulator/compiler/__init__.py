"""Graph and device to program: lower, tile, place, schedule."""

from simulator.compiler.compile import compile_graph
from simulator.compiler.estimate import LATENCY, Goal
from simulator.compiler.tile import Tiles

__all__ = ["LATENCY", "Goal", "Tiles", "compile_graph"]
