"""The least and the largest number of a tensor, as comparators noted them while it was written."""

from simulator.datapath.functions.extremes import run

__all__ = ["run"]
