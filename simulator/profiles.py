"""Numeric profiles: in whose arithmetic a graph is computed.

A quantized model says what its codes mean, not how a kernel rounds. A profile does: how a real scale
becomes integers, how a product is rounded back to a code, how pooling, softmax and the rest are
evaluated. A graph has one; the file's format gives the default.

An operator's file says with ``PROFILES`` how its arithmetic under each profile is known. A profile it
does not name has no arithmetic of its own for that operator, which is then computed as in ``tflite``.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.errors import UsageError

# How the arithmetic of an operator under a profile is known.
RUN = "run"  # equal to the profile's runtime, by a test that runs it; "run (u8)": of codes of that type
SOURCE = "source"  # from the runtime's source or documentation, not run here
CHOSEN = "chosen"  # this project's own definition
DEFAULT = "tflite"
AS_DEFAULT = f"as {DEFAULT}"  # no arithmetic of its own
MOVEMENT = "movement"  # only moves codes


@dataclass(frozen=True)
class Profile:
    """``runtime``: the crosscheck that can confirm it, '' where none can."""

    name: str
    title: str
    runtime: str = ""


_ALL = (
    Profile("tflite", "TensorFlow Lite's reference kernels", "litert"),
    Profile("tflite_micro", "TensorFlow Lite Micro's reference kernels, as CMSIS-NN follows them"),
    Profile("xnnpack", "XNNPACK's float32 requantization", "litert-xnnpack"),
    Profile("ruy", "TensorFlow Lite's optimised kernels on ruy, x86 and NEON", "litert-ruy"),
    Profile("onnxruntime", "ONNX Runtime's CPU kernels on x86", "onnxruntime"),
    Profile("qonnx", "QONNX's execution in float32, its quantizers as integer thresholds", "qonnx"),
    Profile("power_of_two", "every scale ratio rounded to a power of two: shift only"),
    Profile("dyadic", "HAWQ-V3's dyadic numbers: integer multiply, one shift, ties to even"),
)
PROFILES = {profile.name: profile for profile in _ALL}


def profile_named(name: str) -> Profile:
    """The profile called ``name``, or a :class:`UsageError` that lists them."""
    if name not in PROFILES:
        raise UsageError("profile", repr(name), ", ".join(PROFILES))
    return PROFILES[name]
