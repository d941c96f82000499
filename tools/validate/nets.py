"""Networks written down layer by layer as ONNX graphs, for tables whose networks the zoo does not have.

`Net` is the zoo's graph under construction with the layers of image networks on top: they name themselves, pad as
TensorFlow does, and carry no weights, since a price needs shapes only. What comes out is read and counted like any
other model, by the rules of the cost model.
"""

from collections.abc import Sequence
from typing import Literal

from roofwright.graph import zoo
from roofwright.graph.zoo import Value

Activation = Literal["relu", "swish"] | None


class Net(zoo.Net):
    """A network under construction; every method returns the tensor it leaves."""

    def __init__(self, batch: int = 1) -> None:
        """Start an empty network for `batch` samples."""
        super().__init__("net", weights=False)
        self.batch = batch
        self._count = 0

    def image(self, size: int, channels: int = 3) -> Value:
        """A graph input of so many square pixels."""
        return self.input(self._name("input"), (self.batch, channels, size, size))

    def conv(
        self,
        x: Value,
        out: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        norm: bool = True,
        act: Activation = "relu",
        same: bool = True,
    ) -> Value:
        """Convolution with padding to "same" (or none), batch normalization and activation."""
        window = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        name, pixels = self._name("conv"), x.shape[2:]
        weight = self.weight(f"{name}.weight", (out, x.channels // groups, *window), spread=1.0)
        sizes = [_slid(size, k, stride, same) for size, k in zip(pixels, window, strict=True)]
        shape = (self.batch, out, *sizes)
        padding = "SAME_UPPER" if same else "VALID"
        y = self.op("Conv", name, [x, weight], shape, auto_pad=padding, group=groups, strides=(stride, stride))
        return self.act(self.norm(y) if norm else y, act)

    def depthwise(
        self, x: Value, kernel: int = 3, stride: int = 1, *, norm: bool = True, act: Activation = "relu"
    ) -> Value:
        """Depthwise convolution with batch normalization and activation."""
        return self.conv(x, x.channels, kernel, stride, groups=x.channels, norm=norm, act=act)

    def norm(self, x: Value) -> Value:
        """Batch normalization."""
        name = self._name("norm")
        parts = [self.weight(f"{name}.{part}", (x.channels,), spread=1.0) for part in ("scale", "bias", "mean", "var")]
        return self.op("BatchNormalization", name, [x, *parts], x.shape)

    def act(self, x: Value, kind: Activation = "relu") -> Value:
        """ReLU, or x sigmoid(x)."""
        if kind is None:
            return x
        if kind == "relu":
            return self.op("Relu", self._name("relu"), [x], x.shape)
        return self.op("Mul", self._name("swish"), [x, self._sigmoid(x)], x.shape)

    def _sigmoid(self, x: Value) -> Value:
        return self.op("Sigmoid", self._name("sigmoid"), [x], x.shape)

    def add(self, a: Value, b: Value) -> Value:
        """Sum of two maps."""
        return self.op("Add", self._name("add"), [a, b], a.shape)

    def concat(self, *parts: Value) -> Value:
        """Maps side by side."""
        channels = sum(part.channels for part in parts)
        return self.op("Concat", self._name("concat"), parts, (self.batch, channels, *parts[0].shape[2:]), axis=1)

    def half(self, x: Value) -> Value:
        """The second half of the channels."""
        name, channels = self._name("slice"), x.channels
        bounds = (self.ints(f"{name}.from", [channels // 2]), self.ints(f"{name}.to", [channels]))
        shape = (self.batch, channels - channels // 2, *x.shape[2:])
        return self.op("Slice", name, [x, *bounds, self.ints("axis", [1])], shape)

    def parts(self, x: Value, count: int) -> Sequence[Value]:
        """The channels in so many equal parts."""
        name, size = self._name("split"), x.channels // count
        outputs = [Value(f"{name}.{at}", (self.batch, size, *x.shape[2:])) for at in range(count)]
        return self.split_op("Split", name, [x, self.ints(f"{name}.sizes", [size] * count)], outputs, axis=1)

    def shuffle(self, x: Value, groups: int) -> Value:
        """Interleave the channels of the groups; also any other fixed order of the channels."""
        name, (batch, channels, *pixels) = self._name("shuffle"), x.shape
        split, mixed = (batch, groups, channels // groups, *pixels), (batch, channels // groups, groups, *pixels)
        y = self.op("Reshape", f"{name}.split", [x, self.ints(f"{name}.shape", split)], split)
        y = self.op("Transpose", f"{name}.mixed", [y], mixed, perm=(0, 2, 1, 3, 4))
        return self.op("Reshape", name, [y, self.ints(f"{name}.back", x.shape)], x.shape)

    def pool(self, x: Value, kernel: int, stride: int, *, same: bool = True) -> Value:
        """Maximum over windows."""
        shape = (*x.shape[:2], *(_slid(size, kernel, stride, same) for size in x.shape[2:]))
        padding = "SAME_UPPER" if same else "VALID"
        name, window = self._name("pool"), (kernel, kernel)
        return self.op("MaxPool", name, [x], shape, auto_pad=padding, kernel_shape=window, strides=(stride, stride))

    def mean(self, x: Value) -> Value:
        """Global average."""
        return self.op("GlobalAveragePool", self._name("mean"), [x], (*x.shape[:2], 1, 1))

    def upsample(self, x: Value) -> Value:
        """Nearest neighbour, twice the pixels each way."""
        name, (batch, channels, height, width) = self._name("upsample"), x.shape
        shape = (batch, channels, 2 * height, 2 * width)
        return self.op("Resize", name, [x, "", "", self.ints(f"{name}.sizes", shape)], shape, mode="nearest")

    def linear(self, x: Value, out: int, *, act: Activation = None) -> Value:
        """Fully connected layer over all values of the map."""
        name, depth = self._name("linear"), x.channels
        for size in x.shape[2:]:
            depth *= size
        flat = self.op("Flatten", f"{name}.flat", [x], (self.batch, depth), axis=1)
        weights = [self.weight(f"{name}.w", (depth, out), spread=1.0), self.weight(f"{name}.b", (out,), spread=1.0)]
        return self.act(self.op("Gemm", name, [flat, *weights], (self.batch, out)), act)

    def squeeze_excite(self, x: Value, hidden: int, *, act: Activation = "relu") -> Value:
        """Channel gates from the global average."""
        gate = self.conv(self.conv(self.mean(x), hidden, norm=False, act=act), x.channels, norm=False, act=None)
        return self.op("Mul", self._name("scale"), [x, self._sigmoid(gate)], x.shape)

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{what}{self._count}"


def _slid(size: int, kernel: int, stride: int, same: bool) -> int:
    return -(-size // stride) if same else (size - kernel) // stride + 1


def inverted_residual(
    net: Net,
    x: Value,
    out: int,
    expanded: int,
    stride: int,
    kernel: int = 3,
    *,
    groups: int = 1,
    gates: int = 0,
    act: Activation = "relu",
) -> Value:
    """Expand, depthwise, project; added to the input where the shapes agree; `gates`: squeeze-excite width."""
    y = net.conv(x, expanded, groups=groups, act=act) if expanded != x.channels else x
    y = net.depthwise(y, kernel, stride, act=act)
    if gates:
        y = net.squeeze_excite(y, gates, act=act)
    y = net.conv(y, out, groups=groups, act=None)
    return net.add(x, y) if y.shape == x.shape else y
