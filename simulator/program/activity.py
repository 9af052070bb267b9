"""What the values of a command did to its multipliers, beside what random ones do."""

from __future__ import annotations

from dataclasses import astuple, dataclass

RANDOM = 0.5  # part of the bits of random operands that change


@dataclass(frozen=True)
class Activity:
    """Of the products of one command, over the samples looked at: MACs whose ifmap, whose weight, or either
    is 0; bits of streaming operands that changed, and how many there were to change."""

    macs: int
    zero_ifmap_macs: int
    zero_weight_macs: int
    zero_macs: int
    toggled_bits: int
    streamed_bits: int

    def joined(self, other: Activity) -> Activity:
        """With that of other samples."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Activity(*(a + b for a, b in pairs))

    @property
    def zero_share(self) -> float:
        """Part of the MACs with an operand that is 0."""
        return self.zero_macs / self.macs

    @property
    def toggle_rate(self) -> float:
        """Part of the bits of streaming operands that change; half of them for random ones."""
        return self.toggled_bits / self.streamed_bits if self.streamed_bits else RANDOM
