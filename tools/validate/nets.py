"""Whole networks as lists of layers: the loop nests and the values that each layer reads and writes.

`Net` writes a network down as its paper's table does; `Layer`s are what a library would launch. Elementwise layers that
follow a convolution are marked `epilogue`: a library that fuses them drops them.
"""

from dataclasses import dataclass, field
from math import prod

from roofwright.cost_model.work import LoopNest


@dataclass(frozen=True)
class Map:
    """The feature map between two layers."""

    h: int
    w: int
    c: int

    @property
    def values(self) -> int:
        """Elements of one sample."""
        return self.h * self.w * self.c


@dataclass(frozen=True)
class Layer:
    """One kernel: `read`, `written` and `weights` in elements, all samples of the batch.

    Attributes:
        nest: matrix work; None for elementwise, pooling and copying layers.
        lane_ops, special_ops: elementwise work.
        epilogue: disappears where the library fuses it into the layer before.
        steps: how often the layer runs, one after the other (a decoder's tokens).
    """

    what: str
    nest: LoopNest | None
    read: int
    written: int
    weights: int = 0
    lane_ops: int = 0
    special_ops: int = 0
    epilogue: bool = False
    steps: int = 1


@dataclass
class Net:
    """A network under construction; every method appends layers and returns the map it leaves."""

    batch: int = 1
    layers: list[Layer] = field(default_factory=list)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole batch."""
        return sum(layer.steps * layer.nest.macs for layer in self.layers if layer.nest)

    @property
    def parameters(self) -> int:
        """Weights of all layers."""
        return sum(layer.weights for layer in self.layers)

    def conv(
        self,
        x: Map,
        out: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        norm: bool = True,
        act: bool = True,
        same: bool = True,
        swish: bool = False,
    ) -> Map:
        """Convolution with padding to "same" (or none), batch normalization and activation."""
        kh, kw = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        oh = -(-x.h // stride) if same else (x.h - kh) // stride + 1
        ow = -(-x.w // stride) if same else (x.w - kw) // stride + 1
        y, per_group = Map(oh, ow, out), x.c // groups
        nest = LoopNest(groups, self.batch, oh, ow, out // groups, per_group, kh, kw, stride, stride, 1, 1, x.h, x.w)
        self.layers.append(Layer("conv", nest, self.batch * x.values, self.batch * y.values, kh * kw * per_group * out))
        if norm:
            self.elementwise(y, "norm", epilogue=True)
        if act:
            self.elementwise(y, "act", operations=3 if swish else 1, special=int(swish), epilogue=True)
        return y

    def depthwise(
        self, x: Map, kernel: int = 3, stride: int = 1, *, norm: bool = True, act: bool = True, swish: bool = False
    ) -> Map:
        """Depthwise convolution with batch normalization and activation."""
        return self.conv(x, x.c, kernel, stride, groups=x.c, norm=norm, act=act, swish=swish)

    def elementwise(
        self, x: Map, what: str, *, inputs: int = 1, operations: int = 1, special: int = 0, epilogue: bool = False
    ) -> Map:
        """An operation on every value: activation, addition of `inputs` maps, normalization."""
        values = self.batch * x.values
        layer = Layer(what, None, inputs * values, values, 0, operations * values, special * values, epilogue)
        self.layers.append(layer)
        return x

    def add(self, x: Map) -> Map:
        """Sum of two maps."""
        return self.elementwise(x, "add", inputs=2)

    def copy(self, x: Map, what: str = "move") -> Map:
        """A pass that only moves values: channel shuffle, concatenation, slice."""
        self.layers.append(Layer(what, None, self.batch * x.values, self.batch * x.values))
        return x

    def concat(self, *maps: Map) -> Map:
        """Maps side by side, copied."""
        return self.copy(Map(maps[0].h, maps[0].w, sum(m.c for m in maps)), "concat")

    def pool(self, x: Map, kernel: int, stride: int, *, same: bool = True) -> Map:
        """Maximum or average over windows."""
        if same:
            y = Map(-(-x.h // stride), -(-x.w // stride), x.c)
        else:
            y = Map((x.h - kernel) // stride + 1, (x.w - kernel) // stride + 1, x.c)
        values = self.batch * y.values
        self.layers.append(Layer("pool", None, self.batch * x.values, values, 0, kernel * kernel * values))
        return y

    def mean(self, x: Map) -> Map:
        """Global average."""
        values = self.batch * x.values
        self.layers.append(Layer("pool", None, values, self.batch * x.c, 0, values))
        return Map(1, 1, x.c)

    def linear(self, x: Map, out: int, *, act: bool = False) -> Map:
        """Fully connected layer over all values of the map."""
        y = Map(1, 1, out)
        self.matmul(self.batch, out, x.values, weights=x.values * out)
        if act:
            self.elementwise(y, "act", epilogue=True)
        return y

    def matmul(self, m: int, n: int, k: int, *, copies: int = 1, weights: int = 0, steps: int = 1) -> None:
        """Product (m, k) x (k, n), `copies` times; without `weights` the right operand is read as values."""
        nest = LoopNest(copies, 1, m, 1, n, k, in_h=m)
        right = 0 if weights else prod((copies, k, n))
        self.layers.append(Layer("matmul", nest, copies * m * k + right, copies * m * n, weights, steps=steps))

    def squeeze_excite(self, x: Map, hidden: int) -> Map:
        """Channel gates from the global average."""
        self.linear(self.mean(x), hidden, act=True)
        self.linear(Map(1, 1, hidden), x.c, act=True)
        return self.elementwise(x, "scale")


def rounded(channels: float, divisor: int = 8) -> int:
    """Channels to the nearest multiple, at most 10 % fewer than asked (MobileNet's rule)."""
    down = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return down + divisor if down < 0.9 * channels else down
