"""From a real scale to the integers a requantizer takes, and the orders in which runtimes form that scale.

A converter takes the real scale as a double and returns ``(multiplier, shift)`` with
``scale = multiplier * 2**(shift - fraction_bits)``, nearly or exactly; ``fraction_bits`` is 31 but where
said otherwise. Scales are finite and not negative; a scale too large for the format is an error, one too
small becomes 0 wherever the reference does so.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from simulator.errors import ModelError

_WHERE = "requantization"
_INT32_LIMIT = "below 2**30 (int32 accumulators)"


def _checked(real: float) -> float:
    if not (math.isfinite(real) and real >= 0):
        raise ModelError(_WHERE, f"multiplier {real}", "finite and not negative")
    return real


def _too_large(real: float, allowed: str) -> ModelError:
    return ModelError(_WHERE, f"multiplier {real}", allowed)


def _mantissa31(real: float) -> tuple[int, int]:
    """(multiplier in [2**30, 2**31), shift) of a positive scale: rounded half up, never flushed."""
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2.0**31 + 0.5)
    if multiplier == 1 << 31:
        return 1 << 30, shift + 1
    return multiplier, shift


def quantize_multiplier(real: float) -> tuple[int, int]:
    """TensorFlow Lite's ``QuantizeMultiplier``: a 31-bit multiplier and a shift (positive: left).

    Rounds half away from zero, flushes below 2**-32 to 0. For double and single rounding.
    """
    if _checked(real) == 0:
        return 0, 0
    multiplier, shift = _mantissa31(real)
    if shift < -31:
        return 0, 0
    if shift > 30:
        raise _too_large(real, _INT32_LIMIT)
    return multiplier, shift


def reduced_multiplier_of(real: float) -> tuple[int, int]:
    """TensorFlow Lite's 15-bit multiplier of int64 sums; ``fraction_bits`` is 15.

    The 31-bit multiplier rounded half up by 16 bits, 32767 where that would need a 16th bit. The
    reference asserts a shift below 8.
    """
    multiplier, shift = quantize_multiplier(real)
    if shift >= 8:
        raise _too_large(real, "below 2**7 (48-bit accumulators)")
    return (multiplier + (1 << 15) >> 16 if multiplier < 0x7FFF0000 else 32767), shift


def dyadic_multiplier(real: float) -> tuple[int, int]:
    """HAWQ-V3's ``batch_frexp`` with 31 bits: rounded half up in decimal, never flushed.

    HAWQ leaves a fraction that rounds up to 1 as the multiplier 2**31; here it is 2**30 with one shift
    more, the same number.
    """
    if _checked(real) == 0:
        return 0, 0
    multiplier, shift = _mantissa31(real)
    if shift > 30:
        raise _too_large(real, _INT32_LIMIT)
    return multiplier, shift


def ofm_multiplier(real: float) -> tuple[int, int]:
    """The Ethos-U's OFM scale as Vela makes it: 31-bit multiplier, right shift ``31 - shift`` of 6 bits.

    Scales whose right shift needs more than 6 bits become 0, as there. Vela makes those of 2**31 and
    more 0, too; here they are refused.
    """
    if _checked(real) == 0:
        return 0, 0
    multiplier, shift = _mantissa31(real)
    if shift < -32:
        return 0, 0
    if shift > 31:
        raise _too_large(real, "below 2**31 (a right shift of 0 to 63)")
    return multiplier, shift


def float32_mantissa(real: float) -> tuple[int, int]:
    """The nearest float32 as mantissa * 2**exponent, mantissa below 2**24; ``fraction_bits`` is 0.

    Exact for a scale computed in float32 (see :func:`float32_scale`), which is what runtimes hold.
    """
    _checked(real)
    try:
        (nearest,) = struct.unpack("<f", struct.pack("<f", real))
    except OverflowError:
        raise _too_large(real, "within float32, below 2**128") from None
    fraction, exponent = math.frexp(nearest)
    return int(fraction * 2.0**24), exponent - 24


def float64_mantissa(real: float) -> tuple[int, int]:
    """``real`` = mantissa * 2**exponent exactly, mantissa below 2**53; ``fraction_bits`` is 0."""
    fraction, exponent = math.frexp(_checked(real))
    return int(fraction * 2.0**53), exponent - 53


def power_of_two_shift(real: float) -> tuple[int, int]:
    """``(1, shift)`` of a scale that is exactly ``2**shift``; ``fraction_bits`` is 0."""
    fraction, exponent = math.frexp(_checked(real))
    if fraction != 0.5 or exponent - 1 > 30:
        raise _too_large(real, "a power of two, at most 2**30")
    return 1, exponent - 1


def no_scale(real: float) -> tuple[int, int]:
    """``(1, 0)``: sums that are taken as they are have the scale 1, no other."""
    if real != 1:
        raise _too_large(real, "1 (sums taken as they are)")
    return 1, 0


def nearest_power_of_two(real: float) -> float:
    """The power of two nearest to a positive scale by ratio: 2**round(log2(real)), decided exactly.

    Changes the scale by up to a factor of sqrt(2); a model quantized otherwise is no longer the same.
    """
    fraction, exponent = math.frexp(_checked(real))
    if fraction == 0:
        raise _too_large(real, "positive: zero has no nearest power of two")
    # The fraction lies in [1/2, 1); its square is below 1/2 where it is nearer to 1/2 than to 1.
    below = 2 * int(fraction * 2.0**53) ** 2 < 1 << 106
    try:
        return math.ldexp(1.0, exponent - 1 if below else exponent)
    except OverflowError:
        raise _too_large(real, "below sqrt(2) * 2**1023") from None


def float32_scale(s_in: float, s_weight: float, s_out: float) -> float:
    """``f32(f32(s_in * s_weight) / s_out)``: XNNPACK's, ONNX Runtime's and PyTorch's product scale."""
    with np.errstate(all="ignore"):  # the converter names what is not finite
        return float(np.float32(s_in) * np.float32(s_weight) / np.float32(s_out))


def float32_product_scale(s_in: float, s_weight: float, s_out: float) -> float:
    """``double(f32(s_in * s_weight)) / double(f32(s_out))``: only the product is rounded to float32.

    HAWQ-V3's order, and TensorFlow Lite's for uint8 convolutions and per-tensor FULLY_CONNECTED: the
    double product of two float32 scales is exact, so rounding it is the float32 product.
    """
    with np.errstate(all="ignore"):
        product = float(np.float32(np.float64(s_in) * np.float64(s_weight)))
        return float(np.float64(product) / np.float64(np.float32(s_out)))
