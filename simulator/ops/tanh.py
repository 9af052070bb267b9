"""TANH of codes."""

from simulator.ops._sigmoid import PROFILES, RULES, infer, lower, reference

__all__ = ["COMMAND", "PROFILES", "RULES", "SUMMARY", "infer", "lower", "reference"]

SUMMARY = "hyperbolic tangent"
COMMAND = "vector lookup; vector interpolate for int16"
