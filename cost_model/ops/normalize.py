"""Normalisations, the softmax family, losses. A multiply-add is one lane operation.

"Row" below is what shares one mean or one sum.
"""

from math import prod

from roofwright.cost_model.ops.facts import Facts
from roofwright.cost_model.work import Work

# op -> lane operations per element, special operations per element
SOFTMAX = {
    "Softmax": (3, 2),  # maximum, difference, sum; exp, division
    "LogSoftmax": (4, 1),  # maximum, difference, sum, difference; exp (and a log per row)
    "Hardmax": (2, 0),  # maximum, select
}


def batch_normalization(ask: Facts) -> Work:
    """BatchNormalization: y = a x + b; a and b are a root, a division and two steps per channel.

    In training mode mean and variance are three more steps per element.
    """
    shape = ask.shape()
    channels = shape[1] if len(shape) > 1 else 1
    training = 3 if ask.attr("training_mode", 0) else 0
    return ask.work("elementwise", (1 + training) * prod(shape) + 2 * channels, 2 * channels)


def _moments(ask: Facts, rows: int, affine: int, pieces: int = 1) -> Work:
    """Sum, centre, square-sum, scale: 4 steps per element (+ `affine`); per row two scalings, a root and a division."""
    return ask.work("reduce", (4 + affine) * ask.size() + 2 * rows, 2 * rows, pieces=pieces)


def layer_normalization(ask: Facts) -> Work:
    """LayerNormalization, with one step for scale and bias."""
    shape = ask.shape()
    axis = ask.attr("axis", -1) % max(1, len(shape))
    return _moments(ask, prod(shape[:axis]), affine=1, pieces=prod(shape[:axis]))


def group_normalization(ask: Facts) -> Work:
    """GroupNormalization."""
    groups = ask.shape()[0] * int(ask.attr("num_groups", 1))
    return _moments(ask, groups, affine=1, pieces=groups)


def instance_normalization(ask: Facts) -> Work:
    """InstanceNormalization."""
    planes = prod(ask.shape()[:2])
    return _moments(ask, planes, affine=1, pieces=planes)


def mean_variance_normalization(ask: Facts) -> Work:
    """MeanVarianceNormalization: no scale, no bias."""
    shape, axes = ask.shape(), ask.attr("axes", [0, 2, 3])
    summed = {axis % len(shape) for axis in axes} if shape else set()
    return _moments(ask, prod(d for axis, d in enumerate(shape) if axis not in summed), affine=0)


def rms_normalization(ask: Facts) -> Work:
    """RMSNormalization: square-sum, normalise, scale; per row a scaling, a root and a division."""
    shape = ask.shape()
    rows = prod(shape[: ask.attr("axis", -1) % max(1, len(shape))])
    return ask.work("reduce", 3 * ask.size() + rows, 2 * rows, pieces=rows)


def lrn(ask: Facts) -> Work:
    """LRN: a square, `size` sums over the channels, bias and scale; a power and a division per element."""
    n = ask.size()
    return ask.work("reduce", (int(ask.attr("size")) + 2) * n, 2 * n)


def lp_normalization(ask: Facts) -> Work:
    """LpNormalization: a norm per row (p = 1: two steps per element, p = 2: one and a root), a division per element."""
    shape, axis = ask.shape(), ask.attr("axis", -1)
    n, p = prod(shape), ask.attr("p", 2)
    rows = n // shape[axis] if n else 0
    return ask.work("reduce", (2 if p == 1 else 1) * n, n + (rows if p == 2 else 0))


def softmax(ask: Facts) -> Work:
    """Softmax, LogSoftmax, Hardmax, in one pass over the memory."""
    lanes, specials = SOFTMAX[ask.node.op]
    shape, n = ask.shape(), ask.size()
    axis = ask.attr("axis", -1)
    rows = n // shape[axis] if n and shape and ask.node.op == "LogSoftmax" else 0
    pieces = prod(shape[: axis % max(1, len(shape))])
    return ask.work("reduce", lanes * n, specials * n + rows, pieces=pieces)


def negative_log_likelihood_loss(ask: Facts) -> Work:
    """NegativeLogLikelihoodLoss: picks one class per target, weighs and sums."""
    targets = ask.size(1)
    return ask.work("reduce", 2 * targets, touched={0: min(targets, ask.size(0))})


def softmax_cross_entropy_loss(ask: Facts) -> Work:
    """SoftmaxCrossEntropyLoss: LogSoftmax of the scores, then the likelihood loss."""
    lanes, specials = SOFTMAX["LogSoftmax"]
    scores, targets = ask.size(0), ask.size(1)
    return ask.work("reduce", lanes * scores + 2 * targets, specials * scores + targets)
