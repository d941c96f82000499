"""Pooling: one lane operation per window element and output."""

from math import prod

from roofwright.cost_model.ops.conv import window_reads
from roofwright.cost_model.ops.facts import Facts
from roofwright.cost_model.work import Work


def pool(ask: Facts) -> Work:
    """AveragePool, MaxPool (one more step per window element where the indices are asked for)."""
    taps, touched = _window(ask)
    per_tap = 2 if ask.node.op == "MaxPool" and ask.has_output(1) else 1
    return ask.work("pool", per_tap * taps * ask.out_size(), touched={0: touched}, pieces=prod(ask.shape()[:2]))


def lp_pool(ask: Facts) -> Work:
    """LpPool: powers are summed (a multiply-add for p = 2), then one root per output."""
    taps, touched = _window(ask)
    out, p = ask.out_size(), ask.attr("p", 2)
    powers = 0 if p in (1, 2) else taps * out
    specials = powers + (0 if p == 1 else out)
    return ask.work("pool", taps * out, specials, touched={0: touched}, pieces=prod(ask.shape()[:2]))


def _window(ask: Facts) -> tuple[int, int]:
    """(elements of one window, input elements touched)."""
    data, out = ask.shape(0), ask.out_shape()
    kernel = tuple(ask.ints("kernel_shape", len(data) - 2, 1))
    return prod(kernel), prod(data[:2]) * window_reads(ask, data[2:], out[2:], kernel)


def global_pool(ask: Facts) -> Work:
    """GlobalAveragePool, GlobalMaxPool, GlobalLpPool: one window as large as the map."""
    p = ask.attr("p", 2) if ask.node.op == "GlobalLpPool" else 1
    specials = (0 if p == 1 else ask.out_size()) + (0 if p in (1, 2) else ask.size())
    return ask.work("pool", ask.size(), specials, pieces=prod(ask.shape()[:2]))


def max_unpool(ask: Facts) -> Work:
    """MaxUnpool: every element goes to its place in a cleared output."""
    return ask.work("move", skip=(2,))
