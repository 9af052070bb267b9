"""MAXIMUM of two tensors that broadcast."""

from simulator.ops._extreme import PROFILES, RULES, infer, lower, reference

__all__ = ["COMMAND", "PROFILES", "RULES", "SUMMARY", "infer", "lower", "reference"]

SUMMARY = "the larger of two tensors that broadcast, element by element"
COMMAND = "vector maximum; host arithmetic for float32"
