"""LOGISTIC of codes."""

from simulator.ops._sigmoid import PROFILES, RULES, infer, lower, reference

__all__ = ["COMMAND", "PROFILES", "RULES", "SUMMARY", "infer", "lower", "reference"]

SUMMARY = "logistic function, 1 / (1 + exp(-x))"
COMMAND = "vector lookup; vector interpolate for int16"
