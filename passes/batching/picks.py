"""Operators that pick entries by index."""

import numpy as np

from roofwright.passes.batching.layout import Batched, Plain, State, from_front
from roofwright.passes.batching.sight import Array, Sight

SAMPLE = "it picks samples by their place in the batch"


def gather(sight: Sight) -> list[State]:
    """Gather: whole slices of samples by fixed indices, or slices of a table by every sample's indices."""
    sight.only((0, 1), sizes=(1,))
    data, indices = sight.state(0), sight.state(1)
    axis = sight.axis(0)
    if isinstance(data, Batched) and data.axis == axis and not isinstance(indices, Batched):
        return [_own(sight, data, axis)]
    if isinstance(data, Batched) and isinstance(indices, Batched):
        sight.refuse("data and indices both hold the batch: it pairs samples with each other")
    if isinstance(indices, Batched):
        return [sight.moved(indices, axis + indices.axis)]
    if indices is Plain.SIZED:
        sight.refuse("its indices depend on the size of the batch")
    at = sight.data()
    return [sight.moved(at, at.axis if at.axis < axis else at.axis + sight.rank(1) - 1)]


def _own(sight: Sight, at: Batched, axis: int) -> Batched:
    """Indices along the samples themselves: allowed where every sample picks the same entries of its own.

    Exporters write `table[sample, entry]` as one index `sample * inner + entry` into the flattened table. With a batch
    of 1 the sample is 0 and is not seen; the indices are then written anew.
    """
    values = sight.values(1)
    if values is None or at.outer != 1:
        sight.refuse(SAMPLE)
    old, new = values
    grown = [place for place, (was, now) in enumerate(zip(old.shape, new.shape, strict=True)) if was != now]
    if len(grown) == 1 and old.shape[grown[0]] == sight.old and new.shape[grown[0]] == sight.new:
        place = grown[0]
        if not _is_own(old, place, at.inner) or not _is_own(new, place, at.inner):
            sight.refuse(SAMPLE)
        return Batched(axis + place, via=at.via)
    if sight.old > 1 or grown or sight.state(1) is not Plain.FREE or old.min(initial=0) < 0:
        sight.refuse(SAMPLE)
    readings = [Batched(axis + place) for place, size in enumerate(old.shape) if size == 1]
    found = sight.choose(readings) if readings else sight.refuse(SAMPLE)
    counted = np.arange(sight.new, dtype=old.dtype).reshape(
        [-1 if p == found.axis - axis else 1 for p in range(old.ndim)]
    )
    sight.repeat(1, found.axis - axis, old + counted * at.inner)
    return found


def _is_own(indices: Array, place: int, inner: int) -> bool:
    """Whether slice `s` along an axis picks entries of sample `s` only, the same ones in each."""
    rows = np.moveaxis(indices, place, 0).reshape(indices.shape[place], -1)
    local = rows - np.arange(len(rows), dtype=rows.dtype)[:, None] * inner
    return bool(np.all((local >= 0) & (local < inner)) and np.all(local == local[:1]))


def elements(*parts: int) -> "Elements":
    """GatherElements, ScatterElements: every operand has the batch at one axis, and the indices run along another."""
    return Elements(parts)


class Elements:
    """The rule of an operator whose operands `parts` are indexed together."""

    def __init__(self, parts: tuple[int, ...]) -> None:
        """`parts` are positions of inputs."""
        self.parts = parts

    def __call__(self, sight: Sight) -> list[State]:
        """Where the samples of the output are."""
        sight.only(self.parts)
        at = sight.shared(dict.fromkeys(self.parts, sight.used[0].axis))
        return sight.refuse(SAMPLE) if sight.axis(0) == at.axis else [at]


def gather_nd(sight: Sight) -> list[State]:
    """GatherND: along batch dimensions of both, or from a table, or whole slices that hold all samples."""
    sight.only((0, 1))
    data, indices, shared = sight.state(0), sight.state(1), int(sight.attr("batch_dims", 0))
    if isinstance(indices, Batched) and indices.axis < shared:
        return [sight.shared({0: indices.axis, 1: indices.axis})]
    width, rank = sight.shape(1)[-1], sight.rank(1)
    if isinstance(indices, Batched):
        return [indices] if not isinstance(data, Batched) and indices.axis < rank - 1 else sight.refuse(SAMPLE)
    at = sight.data()
    if at.axis < shared:
        return [sight.shared({0: at.axis, 1: at.axis})]
    return [sight.moved(at, rank - 1 + at.axis - width)] if at.axis >= shared + width else sight.refuse(SAMPLE)


def one_hot(sight: Sight) -> list[State]:
    """OneHot: a new axis beside the samples."""
    sight.only((0,))
    at = sight.data()
    axis = from_front(int(sight.attr("axis", -1)), sight.rank() + 1)
    return [sight.moved(at, at.axis + (axis <= at.axis))]


def compress(sight: Sight) -> list[State]:
    """Compress along another axis."""
    sight.only((0,))
    at = sight.data()
    if "axis" not in sight.node.attrs or sight.axis(0) == at.axis:
        sight.refuse(SAMPLE)
    return [at]
