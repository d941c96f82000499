"""The tile machine: runs a schedule numerically, tile by tile, through buffers of the declared size."""
