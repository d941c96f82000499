"""What a counting rule may ask about one node: shapes, attributes, small constant values, operands."""

from collections.abc import Callable, Container, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx_graphsurgeon.ir.tensor import LazyValues

from roofwright.cost_model.dtypes import ITEMSIZE_BITS
from roofwright.cost_model.work import Kind, LoopNest, Operand, Work
from roofwright.graph import name_of

if TYPE_CHECKING:
    from roofwright.graph import TensorInfo

Shape = tuple[int, ...]
VIEW = Work("view")
_LARGEST_VALUE = 4096  # elements; a constant that steers counting (an exponent, a trip count) is never larger


class Unmodelled(Exception):
    """Why the work of a node cannot be counted; ends up as the reason of a `not_modelled` Work."""


class Facts:
    """One node and what is known about its tensors."""

    __slots__ = ("constants", "infos", "node")

    def __init__(self, node: gs.Node, infos: "Mapping[str, TensorInfo]", constants: Container[int] = ()) -> None:
        """Look at `node` with the inferred `infos`; `constants` holds the id of every tensor that can be folded."""
        self.node = node
        self.infos = infos
        self.constants = constants

    # ---- tensors
    def input(self, position: int) -> gs.Tensor | None:
        """The input at `position`; None where it is left out."""
        inputs = self.node.inputs
        return inputs[position] if position < len(inputs) and inputs[position].name else None

    def has_output(self, position: int) -> bool:
        """Whether the output at `position` is asked for."""
        outputs = self.node.outputs
        return position < len(outputs) and bool(outputs[position].name)

    def is_constant(self, tensor: gs.Tensor) -> bool:
        """Whether the tensor's value is known before any request comes in."""
        return id(tensor) in self.constants

    # ---- shapes
    def shape_of(self, tensor: gs.Tensor) -> Shape:
        """All dimensions as numbers; `Unmodelled` where one is not known."""
        shape = known_shape(tensor, self.infos)
        if shape is None:
            raise Unmodelled(f"shape of {tensor.name!r} unknown")
        return shape

    def shape(self, position: int = 0) -> Shape:
        """Shape of the input at `position`."""
        tensor = self.input(position)
        if tensor is None:
            raise Unmodelled(f"input {position} is missing")
        return self.shape_of(tensor)

    def size(self, position: int = 0) -> int:
        """Elements of the input at `position`; 0 where it is left out."""
        tensor = self.input(position)
        return prod(self.shape_of(tensor)) if tensor is not None else 0

    def out_shape(self, position: int | None = None) -> Shape:
        """Shape of the output at `position`, or of the first one that has a name."""
        for place, tensor in enumerate(self.node.outputs):
            if tensor.name and (position is None or place == position):
                return self.shape_of(tensor)
        raise Unmodelled("the node has no such output")

    def out_size(self, position: int | None = None) -> int:
        """Elements of the output at `position`, or of the first one that has a name."""
        return prod(self.out_shape(position))

    def dtype_of(self, tensor: gs.Tensor) -> str:
        """Name of the element type; `Unmodelled` for strings and for types without a fixed size."""
        info = self.infos.get(tensor.name)
        dtype = info.dtype if info is not None else name_of(tensor.dtype)
        if dtype not in ITEMSIZE_BITS:
            raise Unmodelled(f"{tensor.name!r} holds elements of type {dtype or 'unknown'}")
        return dtype

    # ---- values
    def attr(self, name: str, default: Any = None) -> Any:
        """The attribute, or `default` where the node does not set it."""
        return self.node.attrs.get(name, default)

    def ints(self, name: str, rank: int, default: int) -> list[int]:
        """A per-axis integer attribute, or `default` repeated `rank` times."""
        return list(self.node.attrs.get(name) or [default] * rank)

    def value(self, position: int) -> NDArray[Any] | None:
        """The array of a small constant input; None where it is absent, computed or large."""
        tensor = self.input(position)
        return None if tensor is None else small_value(tensor)

    def scalar(self, position: int) -> float | None:
        """The value of a one-element constant input, else None."""
        value = self.value(position)
        return (
            float(value.reshape(())) if value is not None and value.size == 1 and value.dtype.kind in "biuf" else None
        )

    # ---- operands
    def operand(self, tensor: gs.Tensor, elements: int | None = None) -> Operand:
        """`elements` of a tensor (all of them where None)."""
        count = prod(self.shape_of(tensor)) if elements is None else elements
        return Operand(tensor.name, count, self.dtype_of(tensor), id(tensor) in self.constants)

    def alias(self) -> Work:
        """A view: the first output is the first input's bytes."""
        source = self.node.inputs[0]
        return VIEW if self.is_constant(source) else Work("view", alias_of=source.name)

    def reads(self, touched: Mapping[int, int] | None = None, skip: Container[int] = ()) -> tuple[Operand, ...]:
        """Every input once, `touched` elements of it where given, without the positions in `skip`."""
        found: dict[str, Operand] = {}
        for position, tensor in enumerate(self.node.inputs):
            if not tensor.name or position in skip:
                continue
            operand = self.operand(tensor, touched.get(position) if touched else None)
            known = found.get(tensor.name)
            if known is None or known.elements < operand.elements:
                found[tensor.name] = operand
        return tuple(found.values())

    def writes(self) -> tuple[Operand, ...]:
        """Every output that has a name, whole."""
        return tuple(self.operand(tensor) for tensor in self.node.outputs if tensor.name)

    def work(
        self,
        kind: Kind,
        lane_ops: int = 0,
        special_ops: int = 0,
        nests: tuple[LoopNest, ...] = (),
        touched: Mapping[int, int] | None = None,
        skip: Container[int] = (),
        pieces: int = 1,
    ) -> Work:
        """A Work of this node's operands; nests without a single MAC (an empty tensor) are left out."""
        real = tuple(nest for nest in nests if nest.macs)
        return Work(
            kind=kind,
            nest=real[0] if real else None,
            more_nests=real[1:],
            lane_ops=lane_ops,
            special_ops=special_ops,
            pieces=max(pieces, 1),
            reads=self.reads(touched, skip),
            writes=self.writes(),
        )


Rule = Callable[[Facts], Work]


def known_shape(tensor: gs.Tensor, infos: "Mapping[str, TensorInfo]") -> Shape | None:
    """All dimensions as numbers; None where one is not known."""
    info = infos.get(tensor.name)
    shape = info.shape if info is not None else None
    if shape is None and isinstance(tensor, gs.Constant):
        return tuple(tensor.shape)
    if shape is None:
        return None
    for dim in shape:
        if not isinstance(dim, int) or dim < 0:
            return None
    return shape  # type: ignore[return-value]  # the lines above have checked every dimension


def small_value(tensor: gs.Tensor) -> NDArray[Any] | None:
    """The array behind a small initializer or Constant node, without keeping it; None for anything else."""
    if isinstance(tensor, gs.Constant):
        return _load(tensor)
    if not tensor.inputs or tensor.inputs[0].op != "Constant":
        return None
    attrs = tensor.inputs[0].attrs
    if isinstance(attrs.get("value"), gs.Constant):
        return _load(attrs["value"])
    plain = [attrs[name] for name in ("value_float", "value_floats", "value_int", "value_ints") if name in attrs]
    return np.asarray(plain[0]) if plain else None


def _load(constant: gs.Constant) -> NDArray[Any] | None:
    if prod(constant.shape) > _LARGEST_VALUE:
        return None
    stored = constant._values
    return np.asarray(stored.load() if isinstance(stored, LazyValues) else stored)
