"""What a local change is worth: modelled seconds of a handful of nodes before minus after, on the context's target.

A node that is, or might be, is a `Step`: its operator, sizes and attributes. Steps are priced one by one, as the
baseline runs a graph, and each kind once per run: the context remembers them. What a price cannot see is whether a
runtime fuses an activation behind a convolution: where the stack says so, rewrites leave it out of both sides.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.cost_model import Estimate, GraphModel, estimate
from roofwright.graph import dtype_name, dtype_number
from roofwright.passes.base import Context, Decline
from roofwright.targets import Target

Size = tuple[int, ...]
RESOLUTION = 0.05  # share of the price below which two figures of the model are the same
_DEFAULT_BATCH, _DEFAULT_DIM = 1, 128  # of symbolic dimensions, as everywhere
_SEPARATE = ("Concat", "Split")  # operators that a blocked layout of convolutions is left for
_IMAGE_RANK = 4


@dataclass(frozen=True)
class Step:
    """A node as its price sees it.

    Attributes:
        op: operator of the default domain.
        inputs: sizes of what it reads, without constants.
        outputs: sizes of what it makes.
        weights: sizes of its constants, behind the other inputs.
        attrs: names and values; lists as tuples.
        dtype: of all of them.
    """

    op: str
    inputs: tuple[Size, ...]
    outputs: tuple[Size, ...]
    weights: tuple[Size, ...] = ()
    attrs: tuple[tuple[str, Any], ...] = ()
    dtype: str = "float32"

    @classmethod
    def of(cls, node: gs.Node, ctx: Context) -> "Step":
        """The step that a node of a graph is; Decline where a size is not known."""
        given = [tensor for tensor in node.inputs if tensor.name]
        computed = [tensor for tensor in given if not _is_constant(tensor)]
        return cls(
            node.op,
            tuple(size_of(tensor, ctx) for tensor in computed),
            tuple(size_of(tensor, ctx) for tensor in node.outputs if tensor.name),
            tuple(size_of(tensor, ctx) for tensor in given if _is_constant(tensor)),
            plain(node.attrs),
            dtype_name(computed[0] if computed else node.outputs[0]) or "float32",
        )

    def having(self, **attrs: Any) -> "Step":
        """The same step with other attributes."""
        return replace(self, attrs=plain(dict(self.attrs) | attrs))


def _is_constant(tensor: gs.Tensor) -> bool:
    return isinstance(tensor, gs.Constant) or bool(tensor.inputs and tensor.inputs[0].op == "Constant")


def plain(attrs: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Attributes that can be compared: numbers, strings and lists of them."""
    simple = {name: tuple(value) if isinstance(value, list) else value for name, value in attrs.items()}
    return tuple(sorted((n, v) for n, v in simple.items() if isinstance(v, int | float | str | tuple)))


def size_of(tensor: gs.Tensor, ctx: Context) -> Size:
    """The dimensions of a tensor, symbolic ones at the context's sizes; Decline where its rank is not known."""
    if tensor.shape is None:
        raise Decline(f"the shape of {tensor.name!r} is not known, so it has no price")
    return tuple(_size(dim, axis, ctx) for axis, dim in enumerate(tensor.shape))


def _size(dim: int | str | None, axis: int, ctx: Context) -> int:
    if isinstance(dim, int | np.integer):
        return int(dim)
    return ctx.dims.get(str(dim), _DEFAULT_DIM if axis else _DEFAULT_BATCH)


def gain(before: Sequence[Step], after: Sequence[Step], ctx: Context) -> float:
    """Modelled seconds that the change saves beyond the resolution of the model; Decline where there is no price."""
    then, now = seconds(before, ctx), seconds(after, ctx)
    return then - now - RESOLUTION * then


def fuses_activations(ctx: Context) -> bool:
    """Whether an activation behind a convolution costs nothing on the target: its kernels do it on the way."""
    return ctx.target is not None and "activation" in ctx.target.stack.fuses


def price_ahead(changes: Iterable[tuple[Sequence[Step], Sequence[Step]]], ctx: Context) -> None:
    """Price many changes with one estimate, which takes little longer than that of one."""
    steps = dict.fromkeys(step for change in changes for side in change for step in side)
    missing = [step for step in steps if step not in ctx.prices]
    if missing and ctx.target is not None:
        ctx.prices.update(zip(missing, _priced(missing, ctx.target), strict=True))


def seconds(steps: Sequence[Step], ctx: Context) -> float:
    """What the steps take one by one, dispatch included; Decline where one has no price on the target."""
    if ctx.target is None:
        raise Decline("it fires only where a target prices it as a gain, and none is given")
    price_ahead([(steps, ())], ctx)
    found = [ctx.prices[step] for step in steps]
    if None in found:
        raise Decline(f"{steps[found.index(None)].op} has no price on {ctx.target.name}")
    return sum(price for price in found if price is not None)


def _priced(steps: Sequence[Step], target: Target) -> list[float | None]:
    """One estimate of all of them, side by side in one graph."""
    whole = estimate(GraphModel.of(_graph(steps)), target)
    by_kernel = dict(zip((kernel.key for kernel in whole.kernels), _kernel_seconds(whole, steps), strict=True))
    unknown = {name for name, _, _ in whole.not_modelled}
    return [
        None if f"{at}_out0" in unknown else by_kernel.get(f"{at}_out0", 0.0) + _reorders(step, target)
        for at, step in enumerate(steps)
    ]


def _kernel_seconds(whole: Estimate, steps: Sequence[Step]) -> list[float]:
    """Per kernel: transfers and computation, its launch, and its dispatch where the cores that compute do that too."""
    target = whole.target
    engines, stack = target.engines, target.stack
    own = [at >= 0 and engines[at].kind == "simd" for at in whole.prices.engine.tolist()]
    on_chip, took_s = target.on_chip, whole.evaluations.timeline_s
    if on_chip is not None and on_chip.managed == "explicit":
        took_s = np.where(whole.moved.total_bytes <= on_chip.capacity_bytes, _resident_seconds(whole, steps), took_s)
    found = took_s + stack.launch_s + np.where(own, stack.dispatch_s, 0.0)
    return [float(value) for value in found]


def _resident_seconds(whole: Estimate, steps: Sequence[Step]) -> NDArray[np.float64]:
    """Per kernel, where a schedule keeps what fits on chip: weights come from the device memory, the rest is there."""
    target, bytes_ = whole.target, whole.moved.total_bytes
    share = np.array([_weight_share(steps[int(kernel.key.split("_")[0])]) for kernel in whole.kernels])
    near_s = bytes_ / (target.on_chip or target.device_memory).bytes_per_s
    return np.maximum(np.maximum(whole.evaluations.busy_s, near_s), share * bytes_ / target.device_memory.bytes_per_s)


def _weight_share(step: Step) -> float:
    weights = sum(prod(size) for size in step.weights)
    return weights / max(1, weights + sum(prod(size) for size in (*step.inputs, *step.outputs)))


def _graph(steps: Sequence[Step]) -> gs.Graph:
    """Nodes that share nothing; their inputs are the graph's, their outputs too."""
    nodes = []
    for at, step in enumerate(steps):
        number = dtype_number(step.dtype)
        sources = [gs.Variable(f"{at}_in{k}", number, list(size)) for k, size in enumerate(step.inputs)]
        # a weight without memory of its own: prices never look at values
        weights = [
            gs.Constant(f"{at}_w{k}", np.broadcast_to(np.float32(0), size)) for k, size in enumerate(step.weights)
        ]
        outputs: list[gs.Tensor] = [
            gs.Variable(f"{at}_out{k}", number, list(size)) for k, size in enumerate(step.outputs)
        ]
        attrs = {name: list(value) if isinstance(value, tuple) else value for name, value in step.attrs}
        nodes.append(gs.Node(step.op, f"{at}", attrs, [*sources, *weights], outputs))
    inputs = [tensor for node in nodes for tensor in node.inputs if isinstance(tensor, gs.Variable)]
    return gs.Graph(nodes, inputs, [tensor for node in nodes for tensor in node.outputs], opset=21)


def _reorders(step: Step, target: Target) -> float:
    """What a runtime that blocks the channels of images pays around an operator without a blocked form.

    A Concat of channels keeps the layout where every operand is a whole number of blocks; a Split never does. Else all
    operands are written plain before it and blocked again behind it, at the speed of the last cache.
    """
    if not target.stack.constants.get("blocks_channels") or step.op not in _SEPARATE or step.dtype != "float32":
        return 0.0
    if len(step.outputs[0]) != _IMAGE_RANK or dict(step.attrs).get("axis") != 1:
        return 0.0
    block = max((getattr(engine.geometry, "channel_granule", 1) for engine in target.engines), default=1)
    if step.op == "Concat" and all(size[1] % block == 0 for size in step.inputs):
        return 0.0
    elements = sum(prod(size) for size in (*step.inputs, *step.outputs))
    last_cache = target.memories[-2] if len(target.memories) > 1 else target.device_memory
    return 2 * elements * np.dtype(step.dtype).itemsize / last_cache.bytes_per_s
