"""How a dtype of the graph is held and multiplied on a machine: as it is, as the target assumes, or not at all."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from roofwright.cost_model.dtypes import itemsize_bits
from roofwright.targets import Target


@dataclass(frozen=True)
class Storage:
    """A dtype in memory and in the multiplier."""

    storage: str
    multiply: str

    def bytes(self, elements: float) -> float:
        """Bytes of that many elements in memory (sub-byte types packed)."""
        return elements * itemsize_bits(self.storage) / 8


def storage_of(dtype: str, target: Target) -> Storage:
    """The target's assumption for `dtype`, or the dtype itself where the target assumes nothing."""
    assumed = target.assume.get(dtype)
    return _storage(assumed.storage, assumed.multiply) if assumed else _storage(dtype, dtype)


@cache
def _storage(storage: str, multiply: str) -> Storage:
    return Storage(storage, multiply)


def assumptions(dtypes: Iterable[str], target: Target) -> list[str]:
    """One sentence per dtype that the target runs as another, for reports."""
    lines = []
    for dtype in sorted(set(dtypes)):
        held = storage_of(dtype, target)
        if (held.storage, held.multiply) != (dtype, dtype):
            lines.append(f"{dtype} is stored as {held.storage} and multiplied as {held.multiply} on {target.name}")
    return lines
