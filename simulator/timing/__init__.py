"""Cycles: the same program through a max-plus recurrence (``pipeline``) or SimPy (``events``).

The laws both obey, on one core:

* Commands run one after another; only the prefetch of the next command's first weight tile crosses
  the border between two.
* One bus to DRAM serves transfers in a fixed order: the operands of the first ``buffers`` tiles; then,
  after each tile, its ofmap and the operands of the tile ``buffers`` further on; the prefetch follows the
  last operands of its command.
* A tile's stationary operand loads once its operands are on chip and the array's shadow registers are
  free, and its streams follow. Its buffers are free when its last operand has entered the array.
* The vector unit takes an ofmap tile when the array's results are complete; an accumulator buffer is
  free when the vector unit is done with it, an ofmap buffer when the DMA is.
"""
