"""Seeded weights: the same bytes on every machine and numpy version, at memory speed.

One block of 1,000,003 uniform values in [-1, 1) is drawn once per process from the raw stream of a counter-based
generator (numpy guarantees the stream of a bit generator, not that of its distributions) by exact arithmetic. A
tensor is that block, entered at an offset that the tensor's key decides, repeated as often as needed and scaled. The
block's length is prime, so no two rows of a large matrix are equal.
"""

from functools import cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1_000_003
_KEY = 0x524F4F46  # "ROOF"


@cache
def _two_blocks() -> NDArray[np.float32]:
    """The block twice in a row, so that a window of one block may start anywhere in the first."""
    words = np.random.Philox(key=_KEY).random_raw(_BLOCK // 2 + 1).astype("<u8").view("<u4")[:_BLOCK]
    centred = (words >> 8).astype(np.float32) - np.float32(2**23)  # 24 bits: exact in float32
    block = centred / np.float32(2**23)
    return np.concatenate([block, block])


def uniform_bytes(key: str, count: int, center: float, spread: float) -> bytes:
    """Little-endian float32 values in [center - spread, center + spread).

    Args:
        key: decides where the tensor enters the block; the same key gives the same values.
        count: how many values.
        center: their mean.
        spread: half the width of their range; the standard deviation is spread / sqrt(3).
    """
    start = crc32(key.encode()) % _BLOCK
    window = _two_blocks()[start : start + min(count, _BLOCK)]
    once = (window * np.float32(spread) + np.float32(center)).astype("<f4", copy=False).tobytes()
    whole, rest = divmod(count, _BLOCK)
    if whole == 0 or (whole == 1 and rest == 0):
        return once
    return b"".join([*[once] * whole, memoryview(once)[: 4 * rest]])
