"""Nodes that rename bytes or handle containers: no work."""

from roofwright.cost_model.ops.facts import VIEW, Facts, Unmodelled
from roofwright.cost_model.work import Work


def view(ask: Facts) -> Work:
    """Reshape, Squeeze, Unsqueeze, Flatten, Identity, BitCast: the first input's bytes under another name."""
    return ask.alias()


def handle(_: Facts) -> Work:
    """Constant, Shape, Size, and sequence or optional handles: a few bytes of bookkeeping, no tensor is moved."""
    return VIEW


def dropout(ask: Facts) -> Work:
    """Dropout: a view at inference; in training it draws random numbers."""
    training = ask.input(2)
    if training is not None and ask.scalar(2) != 0:
        raise Unmodelled("Dropout in training mode draws random numbers")
    return ask.alias()
