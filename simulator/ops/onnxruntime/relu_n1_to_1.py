"""RELU_N1_TO_1, by ONNX Runtime's float32."""

from simulator.ops.onnxruntime._functions import (
    COMMAND,
    PROFILES,
    RULES,
    infer,
    lower,
    reference,
)

__all__ = ["COMMAND", "PROFILES", "RULES", "SUMMARY", "infer", "lower", "reference"]

SUMMARY = "x between -1 and 1"
