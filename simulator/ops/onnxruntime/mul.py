"""MUL, by ONNX Runtime's float32."""

from simulator.ops.onnxruntime._binary import (
    COMMAND,
    PROFILES,
    RULES,
    infer,
    lower,
    reference,
)

__all__ = ["COMMAND", "PROFILES", "RULES", "SUMMARY", "infer", "lower", "reference"]

SUMMARY = "element-wise product"
