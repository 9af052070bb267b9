"""LEAKY_RELU, by ONNX Runtime's float32."""

from simulator.ops.onnxruntime._functions import (
    COMMAND,
    PROFILES,
    RULES,
    infer,
    lower,
    reference,
)

__all__ = ["COMMAND", "PROFILES", "RULES", "SUMMARY", "infer", "lower", "reference"]

SUMMARY = "x, below zero times alpha"
