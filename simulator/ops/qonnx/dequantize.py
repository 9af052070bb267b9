"""DEQUANTIZE as ONNX has it: codes or sums, less the zero point, times their scale in float32."""

from simulator.ops.onnxruntime.dequantize import COMMAND, SUMMARY, infer, lower, reference
from simulator.ops.qonnx._types import RULES
from simulator.profiles import RUN

__all__ = ["COMMAND", "PROFILES", "RULES", "SUMMARY", "infer", "lower", "reference"]

PROFILES = {"qonnx": RUN}
