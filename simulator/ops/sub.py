"""SUB of two tensors that broadcast: codes, or plain numbers on the host."""

from simulator.ops._sum import PROFILES, RULES, infer, lower, reference

__all__ = ["COMMAND", "PROFILES", "RULES", "SUMMARY", "infer", "lower", "reference"]

SUMMARY = "element-wise difference of two tensors that broadcast, with fused activation"
COMMAND = "vector sub; host arithmetic for numbers"
