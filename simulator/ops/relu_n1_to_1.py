"""RELU_N1_TO_1 as an operator of its own."""

from simulator.ops._relu import PROFILES, RULES, infer, lower, reference

__all__ = ["COMMAND", "PROFILES", "RULES", "SUMMARY", "infer", "lower", "reference"]

SUMMARY = "RELU_N1_TO_1 that is not fused into the operator before it"
COMMAND = "vector rescale"
