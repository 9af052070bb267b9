"""RELU6 as an operator of its own."""

from simulator.ops._relu import PROFILES, infer, lower, reference
from simulator.ops._relu import RULES_WITH_INT16 as RULES

__all__ = ["COMMAND", "PROFILES", "RULES", "SUMMARY", "infer", "lower", "reference"]

SUMMARY = "RELU6 that is not fused into the operator before it"
COMMAND = "vector rescale"
