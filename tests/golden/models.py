"""Blocks of the networks that the passes were written for, each small enough to read."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx

from roofwright.graph.zoo import bert, decoder
from tests.builders import model


def _norm(name: str, channels: int) -> dict[str, Any]:
    """Parameters of a BatchNormalization."""
    ramp = np.linspace(0.5, 1.5, channels, dtype=np.float32)
    return {f"{name}_scale": ramp, f"{name}_bias": ramp - 1, f"{name}_mean": 1 - ramp, f"{name}_var": ramp[::-1].copy()}


def _normed(source: str, target: str, name: str) -> str:
    parts = ", ".join(f"{name}_{part}" for part in ("scale", "bias", "mean", "var"))
    return f"{target} = BatchNormalization({source}, {parts})"


def inverted_residual() -> onnx.ModelProto:
    """Expand, filter depthwise, project, add: the block of MobileNet V2."""
    return model(
        f"""g (float[1,24,28,28] x) => (float[1,24,28,28] y) {{
            a = Conv(x, wide)  {_normed("a", "b", "p")}  c = Clip(b, zero, six)
            d = Conv<group=144, pads=[1,1,1,1]>(c, deep)  {_normed("d", "e", "q")}  f = Clip(e, zero, six)
            g = Conv(f, narrow)  {_normed("g", "h", "r")}
            y = Add(x, h) }}""",
        wide=(144, 24, 1, 1),
        deep=(144, 1, 3, 3),
        narrow=(24, 144, 1, 1),
        zero=np.array(0, np.float32),
        six=np.array(6, np.float32),
        **_norm("p", 144),
        **_norm("q", 144),
        **_norm("r", 24),
    )


def residual() -> onnx.ModelProto:
    """The first block of a stage of ResNet 18: strided, with a projection."""
    return model(
        f"""g (float[1,64,28,28] x) => (float[1,128,14,14] y) {{
            a = Conv<strides=[2,2], pads=[1,1,1,1]>(x, first)  {_normed("a", "b", "p")}  c = Relu(b)
            d = Conv<pads=[1,1,1,1]>(c, second)  {_normed("d", "e", "q")}
            s = Conv<strides=[2,2]>(x, shortcut)  {_normed("s", "t", "r")}
            u = Add(e, t)  y = Relu(u) }}""",
        first=(128, 64, 3, 3),
        second=(128, 128, 3, 3),
        shortcut=(128, 64, 1, 1),
        **_norm("p", 128),
        **_norm("q", 128),
        **_norm("r", 128),
    )


def shuffle() -> onnx.ModelProto:
    """A unit of ShuffleNet V2: half of the channels pass by, then both halves are interleaved."""
    return model(
        f"""g (float[1,116,14,14] x) => (float[1,116,14,14] y) {{
            left, right = Split<axis=1>(x, halves)
            a = Conv(right, wide)  {_normed("a", "b", "p")}  c = Relu(b)
            d = Conv<group=58, pads=[1,1,1,1]>(c, deep)  {_normed("d", "e", "q")}
            f = Conv(e, narrow)  {_normed("f", "h", "r")}  i = Relu(h)
            j = Concat<axis=1>(left, i)
            k = Reshape(j, grouped)  l = Transpose<perm=[0,2,1,3,4]>(k)  y = Reshape(l, flat) }}""",
        halves=np.array([58, 58]),
        grouped=np.array([1, 2, 58, 14, 14]),
        flat=np.array([1, 116, 14, 14]),
        wide=(58, 58, 1, 1),
        deep=(58, 1, 3, 3),
        narrow=(58, 58, 1, 1),
        **_norm("p", 58),
        **_norm("q", 58),
        **_norm("r", 58),
    )


def inception() -> onnx.ModelProto:
    """Four branches of GoogLeNet, joined."""
    return model(
        """g (float[1,192,28,28] x) => (float[1,256,28,28] y) {
            a = Conv(x, w1, b1)  p = Relu(a)
            c = Conv(x, r3, c3)  d = Relu(c)  e = Conv<pads=[1,1,1,1]>(d, w3, b3)  q = Relu(e)
            f = Conv(x, r5, c5)  g = Relu(f)  h = Conv<pads=[2,2,2,2]>(g, w5, b5)  r = Relu(h)
            i = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)  j = Conv(i, wp, bp)  s = Relu(j)
            y = Concat<axis=1>(p, q, r, s) }""",
        w1=(64, 192, 1, 1),
        b1=(64,),
        r3=(96, 192, 1, 1),
        c3=(96,),
        w3=(128, 96, 3, 3),
        b3=(128,),
        r5=(16, 192, 1, 1),
        c5=(16,),
        w5=(32, 16, 5, 5),
        b5=(32,),
        wp=(32, 192, 1, 1),
        bp=(32,),
    )


def lstm() -> onnx.ModelProto:
    """A tagger: embedding, one LSTM in both directions, a projection."""
    return model(
        """g (int64[1,20] words) => (float[1,20,10] tags) {
            e = Gather(table, words)  x = Transpose<perm=[1,0,2]>(e)
            h, last, cell = LSTM<direction="bidirectional", hidden_size=32>(x, w, r, b)
            t = Transpose<perm=[2,0,1,3]>(h)  f = Reshape(t, flat)
            m = MatMul(f, out)  tags = Add(m, bias) }""",
        table=(100, 48),
        w=(2, 128, 48),
        r=(2, 128, 32),
        b=(2, 256),
        flat=np.array([1, 20, 64]),
        out=(64, 10),
        bias=(10,),
    )


MODELS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "inverted_residual": inverted_residual,
    "residual": residual,
    "shuffle": shuffle,
    "inception": inception,
    "bert_layer": lambda: bert(layers=1, hidden=64, head_count=2, vocabulary=100, sequence=16),
    "decoder_layer": lambda: decoder(layers=1, hidden=64, head_count=2, vocabulary=100, sequence=16),
    "lstm": lstm,
}
