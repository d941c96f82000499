"""The six applications of the TPU v1 paper as nets of our own, and their comparison with its counters.

The paper gives layer counts, weights, batch and MACs per weight byte (Table 1), not shapes. Those below follow from
that table and the text. CNN1's were revised twice after its counters had been compared, so its agreement shows that
such a net exists, not that it was predicted; and the bandwidth of the weight memory was derived from MLP0 and LSTM0
(`targets/tpuv1.toml`), so these two check the model's form rather than its figures:

- MLP0 (5 layers, 20 M weights, batch 200) and MLP1 (4 layers, 5 M, batch 168): equal layers with widths of whole
  256 x 256 tiles, since the array of MLP0 wastes 2 % of its active cells: 5 of 2048 x 2048, 4 of 1280 x 1024.
- LSTM0 (24 matrices, 52 M, batch 64) is "a subset of GNMT", whose LSTM has 1024 cells: 6 layers of 4 gates, each gate a
  matrix of its own from input and state, 2048 x 1024: 50 M.
- LSTM1 (37 matrices, 34 M, batch 96): the one size that the paper names is 600 x 600 (section 7), which takes 9 tiles;
  94 such matrices hold 34 M (a layer of the table is then 2 or 3 of them side by side).
- CNN0 (16 convolutions, 8 M, batch 8, 2888 MACs per weight) is AlphaGo, and 2888 = 8 x 19 x 19, so every layer covers
  the board at stride 1: 5x5 of 48 planes to 256, 13 of 3x3 of 256, two 1x1 heads: 8.0 M (Silver et al., Nature 529,
  2016: first layer 5x5, then 3x3, a 1x1 at the end).
- CNN1 (72 convolutions and 4 matrices, 100 M, batch 32, 1750 MACs per weight, 13 poolings) is "an Inception V2
  derivative": the 69 convolutions and 13 poolings of BN-Inception (Ioffe & Szegedy, arXiv:1502.03167, Figure 5),
  channels times 1.6 so that they do about 5.2 G MACs per image, and four equal matrices of 4300 x 4300 for the other
  74 M weights. The host hands over the first layer's windows (7 x 7 x 3 = 147 channels): it lays out the input anyway
  (section 2), and three channels would fill 3 of 256 rows.

A convolution fills the array's rows with channels only, one pass per filter tap. The host writes inputs into the
unified buffer itself (section 2), and values stay there as far as they fit. The maps of 32 images of CNN1 do not: its
convolutions take 8 at a time. That, and inputs that arrive in the buffer, came after a comparison in which all 32 at
once gave 0.68 of the counter's useful MACs; 4, 8 and 16 at a time were tried and 8 gave the most. Both LSTMs have
16-bit activations, which halve the array's speed (Table 3 shows twice the MACs of their TeraOps/s); weights bind them,
so their times do not change, but the useful share is compared for the convolutional nets only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from roofwright.cost_model import LoopNest
from roofwright.targets import Target, load_target
from roofwright.tools.validate.base import Comparison, Result, Table
from roofwright.tools.validate.models import Calls
from roofwright.tools.validate.price import network_s

_WIDER = 1.6
# BN-Inception modules: (size, input, 1x1, 3x3 reduce, 3x3, double reduce, double 3x3, pool projection); 0: stride 2
_MODULES = (
    (28, 192, 64, 64, 64, 64, 96, 32),
    (28, 256, 64, 64, 96, 64, 96, 64),
    (14, 320, 0, 128, 160, 64, 96, 0),
    (14, 576, 224, 64, 96, 96, 128, 128),
    (14, 576, 192, 96, 128, 96, 128, 128),
    (14, 576, 160, 128, 160, 128, 160, 96),
    (14, 576, 96, 128, 192, 160, 192, 96),
    (7, 576, 0, 128, 192, 192, 256, 0),
    (7, 1024, 352, 192, 320, 160, 224, 128),
    (7, 1024, 352, 192, 320, 192, 224, 128),
)
_CNN1_SIDE = 4300
_CNN1_PART = 8  # images at a time; chosen after 4, 8, 16 and 32 had been compared with the counters


@dataclass(frozen=True)
class App:
    """One batch of an application.

    Attributes:
        nests: matrix layers of the whole batch; those before the head, of one of its `parts`.
        pooled: window elements that the activation unit pools, likewise.
        head: matrix layers behind them, of the whole batch.
        parts: how many parts of a batch go through `nests` one after the other.
    """

    nests: list[LoopNest]
    pooled: int = 0
    head: tuple[LoopNest, ...] = ()
    parts: int = 1

    @property
    def layers(self) -> list[LoopNest]:
        """Every matrix layer, for the whole batch."""
        return [*(replace(nest, batch=nest.batch * self.parts) for nest in self.nests), *self.head]


@dataclass(frozen=True)
class Run:
    """One batch of an application: seconds, MACs per second, share of the array's MACs that did useful work."""

    seconds: float
    macs_per_s: float
    useful: float


def _matrix(batch: int, inputs: int, outputs: int) -> LoopNest:
    return LoopNest(1, 1, batch, 1, outputs, inputs, in_h=batch)


def _conv(batch: int, size: int, inputs: int, outputs: int, kernel: int, stride: int = 1) -> LoopNest:
    side = size * stride
    return LoopNest(1, batch, size, size, outputs, inputs, kernel, kernel, stride, stride, 1, 1, side, side)


def _cnn0() -> list[LoopNest]:
    body = [_conv(8, 19, 256, 256, 3)] * 13
    return [_conv(8, 19, 48, 256, 5), *body, _conv(8, 19, 256, 256, 1), _conv(8, 19, 256, 1, 1)]


def _cnn1() -> App:
    def wide(channels: int) -> int:
        return round(channels * _WIDER)

    def conv(size: int, inputs: int, outputs: int, kernel: int, stride: int = 1) -> LoopNest:
        return _conv(_CNN1_PART, size, wide(inputs), wide(outputs), kernel, stride)

    nests = [_conv(_CNN1_PART, 112, 147, wide(64), 1), conv(56, 64, 64, 1), conv(56, 64, 192, 3)]
    for size, inputs, one, three_in, three, double_in, double, pool in _MODULES:
        stride = 1 if one else 2
        before = size * stride
        nests += [conv(size, inputs, one, 1), conv(size, inputs, pool, 1)] if one else []
        nests += [conv(before, inputs, three_in, 1), conv(size, three_in, three, 3, stride)]
        nests += [conv(before, inputs, double_in, 1), conv(before, double_in, double, 3)]
        nests += [conv(size, double, double, 3, stride)]
    pools = [(56, 64), (28, 192), *((size, inputs) for size, inputs, *_ in _MODULES)]  # all 3 x 3
    pooled = _CNN1_PART * (9 * sum(size**2 * wide(channels) for size, channels in pools) + 7 * 7 * wide(1024))
    return App(nests, pooled, (_matrix(32, _CNN1_SIDE, _CNN1_SIDE),) * 4, parts=32 // _CNN1_PART)


def applications() -> dict[str, App]:
    """Every application, one batch of it."""
    return {
        "MLP0": App([_matrix(200, 2048, 2048)] * 5),
        "MLP1": App([_matrix(168, 1280, 1024), _matrix(168, 1024, 1280)] * 2),
        "LSTM0": App([_matrix(64, 2048, 1024)] * 24),
        "LSTM1": App([_matrix(96, 600, 600)] * 94),
        "CNN0": App(_cnn0()),
        "CNN1": _cnn1(),
    }


def run(app: App, target: Target) -> Run:
    """One of many batches, layer after layer, values kept in the unified buffer as far as they fit."""
    seconds = app.parts * _stream_s(app.nests, app.pooled, target)
    seconds += _stream_s(app.head, 0, target) if app.head else 0.0
    rate = sum(nest.macs for nest in app.layers) / seconds
    return Run(seconds, rate, rate / target.engine("mxu").peak_macs_per_s("int8"))


def _stream_s(nests: Sequence[LoopNest], pooled: int, target: Target) -> float:
    calls = Calls(on_chip=True)
    for nest in nests:
        calls.nest(nest)
    if pooled:
        calls.lanes(pooled, nests[-1].rows * nests[-1].out_channels, kind="pool")
    return network_s(calls.model, target).seconds


def read_tpuv1(table: Table) -> list[Result]:
    """Time per batch of each application (from its TeraOps/s), and of convolutional nets by their useful MACs."""
    target, apps = load_target("tpuv1"), applications()
    counters = {name: app["table3"] for name, app in table.document["apps"].items() if name in apps}
    runs = {name: run(apps[name], target) for name in counters}
    peak = target.engine("mxu").peak_macs_per_s("int8")
    by_rate = {name: c["teraops_per_s"] * 1e12 / 2 for name, c in counters.items()}
    by_counter = {name: c["useful_macs_pct"] / 100 * peak for name, c in counters.items() if name.startswith("CNN")}
    return [_compared(table.name, kind, runs, rates) for kind, rates in _kinds(by_rate, by_counter)]


def _kinds(by_rate: dict[str, float], by_counter: dict[str, float]) -> list[tuple[str, dict[str, float]]]:
    kinds = [("application", by_rate), ("application by useful MACs", by_counter)]
    return [(kind, rates) for kind, rates in kinds if rates]


def _compared(table: str, kind: str, runs: dict[str, Run], macs_per_s: dict[str, float]) -> Comparison:
    """Predicted and measured seconds of a batch; measured MACs per second become seconds of our net's MACs."""
    own = [runs[name] for name in macs_per_s]
    predicted = np.array([r.seconds for r in own])
    measured = np.array([r.seconds * r.macs_per_s / rate for r, rate in zip(own, macs_per_s.values(), strict=True)])
    reasons = tuple(f"{r.useful:.1%} of the array useful" for r in own)
    return Comparison(table, "tpuv1", kind, predicted, measured, tuple(macs_per_s), reasons)
