"""Elementwise operations: lane and special operations per output element.

A lane operation is one add, multiply, multiply-add, compare, select, rounding or conversion; a special operation is one
exp, log, root, division, sine, tanh or erf.
"""

from roofwright.cost_model.ops.facts import Facts
from roofwright.cost_model.work import Work

# op -> (lane operations, special operations) per output element
WEIGHTS = {
    "Abs": (1, 0),
    "Acos": (0, 1),
    "Acosh": (2, 2),  # log(x + sqrt(x x - 1))
    "Add": (1, 0),
    "And": (1, 0),
    "Asin": (0, 1),
    "Asinh": (2, 2),
    "Atan": (0, 1),
    "Atanh": (3, 2),  # log((1 + x) / (1 - x)) / 2
    "BitShift": (1, 0),
    "BitwiseAnd": (1, 0),
    "BitwiseNot": (1, 0),
    "BitwiseOr": (1, 0),
    "BitwiseXor": (1, 0),
    "Ceil": (1, 0),
    "Celu": (5, 1),  # scale, exp, multiply-add, two bounds, sum
    "Cos": (0, 1),
    "Cosh": (2, 2),  # e = exp(x); (e + 1 / e) / 2
    "Div": (0, 1),
    "Elu": (2, 1),  # exp, multiply-add, select
    "Equal": (1, 0),
    "Erf": (0, 1),
    "Exp": (0, 1),
    "Floor": (1, 0),
    "Greater": (1, 0),
    "GreaterOrEqual": (1, 0),
    "HardSigmoid": (3, 0),  # multiply-add, two bounds
    "HardSwish": (4, 0),
    "IsInf": (1, 0),
    "IsNaN": (1, 0),
    "LeakyRelu": (2, 0),  # multiply, select
    "Less": (1, 0),
    "LessOrEqual": (1, 0),
    "Log": (0, 1),
    "Mish": (2, 3),  # x tanh(log(1 + exp(x)))
    "Mod": (2, 1),  # x - y floor(x / y)
    "Mul": (1, 0),
    "Neg": (1, 0),
    "Not": (1, 0),
    "Or": (1, 0),
    "PRelu": (2, 0),
    "Reciprocal": (0, 1),
    "Relu": (1, 0),
    "Round": (1, 0),
    "Selu": (3, 1),
    "Shrink": (3, 0),
    "Sigmoid": (2, 2),  # 1 / (1 + exp(-x))
    "Sign": (2, 0),
    "Sin": (0, 1),
    "Sinh": (2, 2),
    "Softplus": (1, 2),  # log(1 + exp(x))
    "Softsign": (2, 1),
    "Sqrt": (0, 1),
    "Sub": (1, 0),
    "SwiGLU": (4, 2),  # Swish, then a product
    "Swish": (3, 2),  # x Sigmoid(alpha x)
    "Tan": (0, 3),  # sin, cos, division
    "Tanh": (0, 1),
    "ThresholdedRelu": (1, 0),
    "Where": (1, 0),
    "Xor": (1, 0),
}
_GELU_ERF = (3, 1)  # scale, half, multiply-add; erf
_GELU_TANH = (5, 1)  # x (a + b x x): three steps; half, multiply-add; tanh
_POWERS = {2.0: (1, 0), 3.0: (2, 0), 0.5: (0, 1), -1.0: (0, 1)}  # what any library special-cases
_POWER = (1, 2)  # exp(y log(x))


def _weigh(ask: Facts, weights: tuple[int, int]) -> Work:
    n = ask.out_size()
    return ask.work("elementwise", weights[0] * n, weights[1] * n)


def pointwise(ask: Facts) -> Work:
    """Every operation of the table above; operands are read at their own size, however they broadcast."""
    return _weigh(ask, WEIGHTS[ask.node.op])


def gelu(ask: Facts) -> Work:
    """Gelu, exact or by tanh."""
    return _weigh(ask, _GELU_TANH if ask.attr("approximate", "none") == "tanh" else _GELU_ERF)


def power(ask: Facts) -> Work:
    """Pow: a constant exponent of 2, 3, 1/2 or -1 is cheaper than exp and log."""
    exponent = ask.scalar(1)
    return _weigh(ask, _POWER if exponent is None else _POWERS.get(exponent, _POWER))


def clip(ask: Facts) -> Work:
    """Clip: one lane operation per bound that is given."""
    inputs = sum(ask.input(position) is not None for position in (1, 2))
    bounds = inputs + sum(name in ask.node.attrs for name in ("min", "max"))
    return _weigh(ask, (bounds, 0)) if bounds else ask.alias()


def variadic(ask: Facts) -> Work:
    """Sum, Max, Min, Mean of n inputs: n - 1 steps, one more to scale a mean; a single input passes through."""
    count = sum(bool(tensor.name) for tensor in ask.node.inputs)
    if count == 1:
        return ask.alias()
    return _weigh(ask, (count - 1 + (ask.node.op == "Mean"), 0))


def cast(ask: Facts) -> Work:
    """Cast, CastLike: one conversion per element; nothing where the type stays."""
    source, result = ask.node.inputs[0], ask.node.outputs[0]
    if ask.dtype_of(source) == ask.dtype_of(result):
        return ask.alias()
    n = ask.out_size()
    return ask.work("elementwise", n, skip=(1,))  # CastLike's second input lends its type only


def rotary_embedding(ask: Facts) -> Work:
    """RotaryEmbedding: two multiply-adds per rotated element; rows of the caches are read per position."""
    shape = ask.shape()
    heads = int(ask.attr("num_heads", 0))
    width = shape[-1] // heads if len(shape) == 3 and heads else shape[-1]
    rotated = int(ask.attr("rotary_embedding_dim", 0)) or width
    lanes = 2 * ask.size() * rotated // width if width else 0
    positions = shape[0] * (shape[1] if len(shape) == 3 else shape[2])
    rows = positions * rotated // 2
    return ask.work("elementwise", lanes, touched={1: min(rows, ask.size(1)), 2: min(rows, ask.size(2))})
