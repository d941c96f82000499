"""What each node reads and makes when nodes run group of channels by group of channels.

A tensor is seen as [before, extent, after], of which a group is a range of the middle axis. Which axis that is follows
from the nodes, one after the other: channels of a map, features of tokens, heads of attention. A tensor may be seen in
coarser units than its channels: 768 features as 12 heads of 64, 32 channels as 8 groups of a grouped convolution; all
tensors of a kernel are then.

A node plays one of four parts:

    opens     a product that makes a group of its result from all of its input and that group's slice of the weights
    each      a group of the result depends on the same group of what it reads: grouped convolutions, pools, products
              of two activations head by head, softmax inside a head, elementwise work with constants per channel or
              position
    closes    a product that adds, for every group of what it reads, a part to all of its result
    follows   elementwise work on what a product that closes has made: after the last group

Weights of all products come slice by slice, each once. Nothing is made twice: there are no halos along channels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from roofwright.cost_model.graph_work import NodeWork
from roofwright.cost_model.strip_maps import POSITIONWISE, Shape

Role = Literal["opens", "each", "closes", "follows"]


class NotByChannels(Exception):
    """Why nodes cannot run group of channels by group of channels."""


@dataclass(frozen=True, slots=True)
class Along:
    """A tensor as [before, extent, after]; groups are ranges of `extent`."""

    before: int
    extent: int
    after: int

    @classmethod
    def of(cls, shape: Shape, axis: int, extent: int) -> "Along":
        """Along one axis, in so many units."""
        return cls(prod(shape[:axis]), extent, prod(shape[axis:]) // extent)

    @property
    def each(self) -> int:
        """Elements of one channel."""
        return self.before * self.after

    def axis(self, shape: Shape) -> int | None:
        """Which axis it is where these bytes are seen in this shape."""
        before = 1
        for axis, size in enumerate(shape):
            if before == self.before and size > 1:
                return axis
            before *= size
        return None


@dataclass(frozen=True, slots=True)
class Part:
    """One node.

    Attributes:
        work, role: which one, and the part it plays.
        makes: its result.
        reads: what it reads group by group, constants included.
        whole: what it reads of which it needs all, constants included.
    """

    work: NodeWork
    role: Role
    makes: str
    reads: tuple[str, ...]
    whole: tuple[str, ...]

    @property
    def streams(self) -> bool:
        """Whether every element is made of its own elements, or moved: it runs behind what makes those."""
        return self.work.op in POSITIONWISE or self.moves

    @property
    def moves(self) -> bool:
        """Whether its elements only go elsewhere."""
        return self.work.op == "Transpose"


@dataclass(frozen=True)
class ChannelStack:
    """Nodes that can run group by group together.

    Attributes:
        parts: in order.
        extent: units of every tensor that is cut.
        along: tensors that are cut, constants included.
        made: tensor -> position of the part that makes it.
        readers: tensor -> positions of the parts that read it.
        constants: of what is read.
        leaving: results that others than these nodes need.
    """

    parts: tuple[Part, ...]
    extent: int
    along: Mapping[str, Along]
    made: Mapping[str, int]
    readers: Mapping[str, Sequence[int]]
    constants: frozenset[str]
    leaving: frozenset[str]

    @property
    def inputs(self) -> list[str]:
        """Tensors that are not constants, come from outside, and are read group by group."""
        return [name for name in self.along if name not in self.made and name not in self.constants]

    @property
    def whole(self) -> list[str]:
        """What comes from outside and is held whole, constants included."""
        return list(dict.fromkeys(name for part in self.parts for name in part.whole if name not in self.made))

    @property
    def closing(self) -> list[int]:
        """Positions of the products whose results add up."""
        return [at for at, part in enumerate(self.parts) if part.role == "closes"]
