"""ELU of 8-bit codes, by ONNX Runtime's float32."""

from simulator.ops.onnxruntime._functions import (
    PROFILES,
    infer,
    lower,
    reference,
    unambiguous,
)
from simulator.ops.onnxruntime._functions import RULES as _RULES

__all__ = ["COMMAND", "PROFILES", "RULES", "SUMMARY", "infer", "lower", "reference"]

SUMMARY = "x, below zero alpha * (exp(x) - 1)"
COMMAND = "vector lookup"
RULES = (*_RULES, unambiguous)
