"""What a float model is quantized to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from simulator.errors import UsageError
from simulator.quantizers import SCALES, Setting, quantizer, range_names

GRANULARITIES = ("channel", "tensor")
ROUNDINGS = ("nearest", "adaround")
RANGES = ("static", "dynamic")
FORMS = ("standard", "qonnx")
# Quantizers whose levels are neighbours, so that a weight may be rounded to either of two.
UNIFORM = ("symmetric", "symmetric_full", "asymmetric", "msqe")
# Quantizers of neighbouring input channels, which depthwise layers have none of.
OF_NEIGHBOURS = ("groups", "product")
_PRECISE = 8
ACTIVATION_BITS = 8


@dataclass(frozen=True)
class Scheme:
    """Weights by quantizer ``weights`` in ``bits``; activations asymmetric in 8 bits.

    ``per``: one scale for each output channel, or for the whole tensor. ``limits`` and
    ``activation_limits``: rules for what is clipped, of ``quantizers.ranges``; ``scale``: what scales, also
    those of activations, may be. ``edge_bits``: of the first and the last layer, where that is another
    number; ``layer_bits``: of single layers, by the name of their output. A layer whose bits the quantizer
    does not have is symmetric. ``equalize``: cross-layer equalization before; ``rounding``: ``adaround``
    for the rounding that a layer's outputs are nearest with; ``correct_bias``: biases take up what
    quantized weights do to the mean of each channel. ``ranges``: of activations, ``static`` as calibrated,
    or ``dynamic``: each product finds that of its own input as it runs. ``form``: ``standard`` operators,
    or ``qonnx``, whose activations may have fewer than 8 bits (``activation_bits``), all but the input and
    the output.
    """

    weights: str = "symmetric"
    bits: int = 8
    per: str = "channel"
    limits: str = "min_max"
    scale: str = "float"
    activation_limits: str = "min_max"
    edge_bits: int | None = None
    layer_bits: Mapping[str, int] = field(default_factory=dict)
    group: int = 16
    vector: int = 4
    equalize: bool = False
    rounding: str = "nearest"
    correct_bias: bool = False
    ranges: str = "static"
    activation_bits: int = ACTIVATION_BITS
    form: str = "standard"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "layer_bits", MappingProxyType(dict(self.layer_bits)))
        fewest, most = quantizer(self.weights).BITS
        if not fewest <= self.bits <= most:
            allowed = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise UsageError(f"weights {self.weights}", f"{self.bits} bits", allowed)
        for what, value, allowed in (
            ("per", self.per, GRANULARITIES), ("limits", self.limits, range_names()),
            ("activation limits", self.activation_limits, range_names()),
            ("scale", self.scale, tuple(SCALES)), ("rounding", self.rounding, ROUNDINGS),
            ("ranges", self.ranges, RANGES), ("form", self.form, FORMS),
        ):  # fmt: skip
            if value not in allowed:
                raise UsageError(what, repr(value), ", ".join(allowed))
        if self.rounding == "adaround" and self.weights not in UNIFORM:
            raise UsageError("rounding adaround", f"with {self.weights}", ", ".join(UNIFORM))
        if self.weights == "asymmetric" and self.per == "channel":
            raise UsageError("weights asymmetric", "per channel", "per tensor")
        allowed = f"{_PRECISE}, or 2 to {_PRECISE} in form qonnx"
        fewest = 2 if self.form == "qonnx" else _PRECISE
        if not fewest <= self.activation_bits <= _PRECISE:
            raise UsageError("activations", f"{self.activation_bits} bits", allowed)
        if self.form == "qonnx" and self.ranges == "dynamic":
            raise UsageError("ranges dynamic", "in form qonnx", "form standard")
        others = (*self.layer_bits.values(), *([self.edge_bits] if self.edge_bits else ()))
        for bits in others:
            if not 2 <= bits <= _PRECISE:
                raise UsageError("bits of a layer", str(bits), f"2 to {_PRECISE}")
        for name, value in (("group", self.group), ("vector", self.vector)):
            if not 1 <= value <= 64:
                raise UsageError(name, str(value), "1 to 64")

    def of_layer(
        self, name: str, operator: str, channels: int, edge: bool, axis: int
    ) -> tuple[str, Setting]:
        """(quantizer, setting) of one layer with ``channels`` input channels to a group.

        ``edge``: it is the first or the last one. ``axis``: that of output channels.
        """
        bits = self.layer_bits.get(name)
        if bits is None:
            bits = self.edge_bits if edge and self.edge_bits else self.bits
        chosen = self.weights
        fewest, most = quantizer(chosen).BITS
        alone = operator == "depthwise_conv_2d" or (chosen == "product" and channels % self.vector)
        if chosen in OF_NEIGHBOURS and alone:
            chosen, bits = "symmetric", _PRECISE if chosen == "product" else bits
        elif not fewest <= bits <= most:
            chosen = "symmetric"
        return chosen, Setting(
            bits, axis if self.per == "channel" else None, self.limits, self.scale, self.group,
            vector=self.vector, seed=self.seed,
        )  # fmt: skip
