"""Cycles: the same program through a max-plus recurrence (``pipeline``) or SimPy (``events``).

The laws both obey, on one core:

* Commands run one after another; only the prefetch of the next command's first weight tile crosses
  the border between two.
* One bus to DRAM serves transfers in a fixed order: the operands of the first ``buffers`` tiles; then,
  after each tile, its ofmap and the operands of the tile ``buffers`` further on; the prefetch follows
  the last operands of its command. A tile's operand is one transfer, whatever its shape in DRAM.
* A tile's stationary operand loads once its operands are on chip and the array's shadow registers are
  free, and its streams follow, output stationary ones far enough behind the tile before that their
  sums do not meet on the output buses. In ``serial`` mode the next tile loads when all results of this
  one are out.
* The vector unit takes an ofmap tile when the array's results are complete; an accumulator buffer is
  free when the vector unit is done with it, an ofmap buffer when the DMA is.
* A tile's operand buffers are free when its last operand has entered the array, or when the vector unit
  is done with a tile of its own. What the output stage needs of a channel (bias, multiplier, shift) is
  kept in registers beside it from the load on.
* The scratchpad's read port limits streams, together with the load that overlaps them, and the vector
  unit's own commands. A Host command and a copy within the scratchpad run alone; a copy holds the DMA.
"""
