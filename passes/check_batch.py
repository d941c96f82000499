"""Original against a model of a larger batch: N different samples at once, and the same samples one at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.passes.base import Numerics
from roofwright.passes.check import Check, Outputs, Run, check
from roofwright.passes.feeds import Samples

_MOST_SAMPLES = 8  # of a large batch that are run alone: the first, the last, and some between
Arrays = Mapping[str, NDArray[Any]]


def check_batched(
    graph: gs.Graph,
    batched: gs.Graph,
    original: Run,
    optimized: Run,
    dims: Mapping[str, int] | None = None,
    numerics: Numerics = "rounding",
    samples: Samples | None = None,
) -> Check:
    """Run N different samples at once and alone, and compare; of a large batch only some samples are compared.

    Args:
        graph: the original, for its interface.
        batched: the model of N samples, for its interface. Inputs whose shape is the same in both are the same for
            every sample.
        original: runs a feed of the original, returns the outputs by name.
        optimized: the same for the larger model.
        dims: sizes of symbolic dimensions that are given.
        numerics: the most that the applied rewrites change results.
        samples: how many input sets of each kind, and their seed.
    """
    split = _Split(graph, batched)
    left = {name: size for name, size in (dims or {}).items() if name not in split.symbols}
    if not split.axes:
        return check(graph, original, optimized, left, numerics, samples)
    return check(
        batched,
        lambda arrays: split.alone(original, arrays),
        lambda arrays: split.together(optimized(arrays)),
        left,
        numerics,
        samples,
    )


class _Split:
    """How a request of the larger model falls into requests of the original."""

    def __init__(self, graph: gs.Graph, batched: gs.Graph) -> None:
        """Compare the two interfaces: an input that differs, differs in the axis of the batch."""
        self.axes: dict[str, int] = {}  # input -> axis
        self.symbols: set[str] = set()
        self.old = self.new = 1
        self.outputs: dict[str, int | None] = {}  # output -> axis, once the original has run
        self.declared = {tensor.name: tensor.shape or () for tensor in batched.outputs}
        for was, now in zip(graph.inputs, batched.inputs, strict=True):
            for axis, (before, after) in enumerate(zip(was.shape or (), now.shape or (), strict=True)):
                if before != after:
                    self._hold(was.name, axis, before, after)
        self.picked = np.unique(np.linspace(0, self.new - 1, min(self.new, _MOST_SAMPLES)).astype(int)).tolist()

    def _hold(self, name: str, axis: int, before: int | str | None, after: int) -> None:
        self.axes[name], self.new = axis, after
        if isinstance(before, int):
            self.old = before
        elif before:
            self.symbols.add(before)

    def alone(self, original: Run, arrays: Arrays) -> Outputs:
        """What the original says of the picked samples, joined."""
        groups = [self.picked[at : at + self.old] for at in range(0, len(self.picked), self.old)]
        results = [original(self._request(arrays, group)) for group in groups]
        joined: dict[str, Any] = {}
        for name, first in results[0].items():
            axis = self.outputs[name] = self._axis(name, first)
            if axis is None:
                joined[name] = first
                continue
            parts = [_part(r[name], range(len(g)), axis, self.old) for r, g in zip(results, groups, strict=True)]
            joined[name] = np.concatenate(parts, axis)
        return joined

    def together(self, outputs: Outputs) -> Outputs:
        """The picked samples of what the larger model says."""
        axes = {name: self.outputs.get(name) for name in outputs}
        return {
            name: value if (axis := axes[name]) is None else _part(value, self.picked, axis, self.new)
            for name, value in outputs.items()
        }

    def _request(self, arrays: Arrays, group: Sequence[int]) -> dict[str, NDArray[Any]]:
        """The samples of `group` as one request of the original; the last one again where they are too few."""
        full = [*group, *[group[-1]] * (self.old - len(group))]
        return {
            name: _part(array, full, self.axes[name], self.new) if name in self.axes else array
            for name, array in arrays.items()
        }

    def _axis(self, name: str, value: Any) -> int | None:
        """The axis of an output in which the larger model says something else; None: the same for every sample."""
        if not isinstance(value, np.ndarray) or len(self.declared[name]) != value.ndim:
            return None
        sizes = enumerate(zip(self.declared[name], value.shape, strict=True))
        return next((axis for axis, (dim, size) in sizes if isinstance(dim, int) and dim != size), None)


def _part(array: NDArray[Any], samples: Sequence[int], axis: int, batch: int) -> NDArray[Any]:
    """Some samples of an array that holds `batch` of them along `axis`, each in one piece."""
    shape = array.shape
    parted = array.reshape(*shape[:axis], batch, -1, *shape[axis + 1 :]) if array.size else array
    taken = np.take(parted, list(samples), axis)
    return taken.reshape(*shape[:axis], -1, *shape[axis + 1 :]) if array.size else taken
