"""SUB of codes of any width, or of numbers, in the float32 of QONNX's execution."""

from simulator.ops.onnxruntime._binary import COMMAND, RULES, infer, lower, reference
from simulator.profiles import RUN

__all__ = ["COMMAND", "PROFILES", "RULES", "SUMMARY", "infer", "lower", "reference"]

SUMMARY = "element-wise difference"
PROFILES = {"qonnx": RUN}
