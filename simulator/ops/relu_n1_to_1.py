"""RELU_N1_TO_1 as an operator of its own."""

from simulator.ops._relu import DEVICE_RULES, RULES, infer, lower, reference

__all__ = ["COMMAND", "DEVICE_RULES", "RULES", "SUMMARY", "infer", "lower", "reference"]

SUMMARY = "RELU_N1_TO_1 that is not fused into the operator before it"
COMMAND = "vector rescale"
