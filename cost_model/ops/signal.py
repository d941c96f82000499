"""Fourier transforms and windows. A transform of n complex points is 5 n log2(n) operations (Cooley-Tukey, radix 2).

Reference: M. Frigo and S. G. Johnson, "The Design and Implementation of FFTW3", Proc. IEEE 93(2), 2005,
doi:10.1109/JPROC.2004.840301 (its convention for speed). A real transform is half of it.
"""

from math import ceil, log2

from roofwright.cost_model.ops.facts import Facts
from roofwright.cost_model.work import Work

_LANES_PER_POINT = 5


def _transform_lanes(points: int, real: bool) -> int:
    lanes = _LANES_PER_POINT * points * ceil(log2(max(2, points)))
    return lanes // 2 if real else lanes


def dft(ask: Facts) -> Work:
    """DFT along one axis (the input `axis` of opset 20, the attribute before; -2 where neither is given)."""
    source, out = ask.shape(), ask.out_shape()
    place = ask.scalar(2)
    axis = int(place) if place is not None else int(ask.attr("axis", -2 if len(ask.node.inputs) > 1 else 1))
    length = ask.scalar(1)
    points = int(length) if length is not None else source[axis]
    real = source[-1] == 1
    others = ask.out_size() // (out[axis] * out[-1]) if out[axis] * out[-1] else 0
    return ask.work("reduce", others * _transform_lanes(points, real), skip=(1, 2))


def stft(ask: Facts) -> Work:
    """STFT: window and transform of every frame; overlapping frames read the signal once."""
    batch, frames, bins, _ = ask.out_shape()
    length = ask.scalar(3)
    points = int(length) if length is not None else ask.size(2) or 2 * (bins - 1)
    signal = ask.shape()
    real = len(signal) == 2 or signal[-1] == 1
    window = points if ask.input(2) else 0
    return ask.work("reduce", batch * frames * (window + _transform_lanes(points, real)), skip=(1, 3))


def window(ask: Facts) -> Work:
    """HannWindow, HammingWindow, BlackmanWindow: one or two cosines and as many multiply-adds per point."""
    cosines = 2 if ask.node.op == "BlackmanWindow" else 1
    n = ask.out_size()
    return ask.work("elementwise", 2 * cosines * n, cosines * n, skip=(0,))


def mel_weight_matrix(ask: Facts) -> Work:
    """MelWeightMatrix: two slopes (a multiply-add and a bound each) and a minimum per weight."""
    return ask.work("elementwise", 5 * ask.out_size(), skip=(0, 1, 2, 3, 4))
