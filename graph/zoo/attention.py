"""Layers of transformers as exporters write them: one node per operation, batch and sequence baked into the shapes."""

from math import sqrt

import numpy as np

from roofwright.graph.zoo.layers import add, reshape, transpose
from roofwright.graph.zoo.net import Net, Value


def embedding(net: Net, ids: Value | str, shape: tuple[int, ...], rows: str) -> Value:
    """Rows of a table (see `table`) picked by int64 ids; `shape` is that of the result."""
    return net.op("Gather", rows.removesuffix(".weight"), [rows, ids], shape, axis=0)


def table(net: Net, rows: int, features: int, name: str) -> str:
    """The weight of an embedding."""
    return net.weight(f"{name}.weight", (rows, features), spread=0.1)


def positions(net: Net, sequence: int) -> str:
    """The ids 0, 1, ... of one sequence."""
    return net.constant("positions", np.arange(sequence, dtype=np.int64)[None])


def layer_norm(net: Net, x: Value, name: str, epsilon: float) -> Value:
    """Normalization over the last dimension, scale and bias varied."""
    scale = net.weight(f"{name}.scale", x.shape[-1:], center=1.0, spread=0.3)
    bias = net.weight(f"{name}.bias", x.shape[-1:], spread=0.2)
    return net.op("LayerNormalization", name, [x, scale, bias], x.shape, axis=-1, epsilon=epsilon)


def dense(net: Net, x: Value, features: int, name: str) -> Value:
    """MatMul and Add on (batch, sequence, features): PyTorch's Linear on three dimensions."""
    weight, bias = _weights(net, x.shape[-1], features, name)
    x = net.op("MatMul", f"{name}.matmul", [x, weight], (*x.shape[:-1], features))
    return net.op("Add", name, [x, bias], x.shape)


def dense_gemm(net: Net, x: Value, features: int, name: str) -> Value:
    """Reshape, Gemm, Reshape: GPT-2's one-tap convolution as it is exported."""
    batch, sequence, depth = x.shape
    weight, bias = _weights(net, depth, features, name)
    x = reshape(net, x, (batch * sequence, depth), f"{name}.rows")
    x = net.op("Gemm", f"{name}.gemm", [x, weight, bias], (batch * sequence, features), alpha=1.0, beta=1.0)
    return reshape(net, x, (batch, sequence, features), name)


def heads(net: Net, x: Value, count: int, name: str, *, keys: bool = False) -> Value:
    """(batch, sequence, features) to (batch, heads, sequence, size), or (batch, heads, size, sequence) for keys."""
    batch, sequence, features = x.shape
    x = reshape(net, x, (batch, sequence, count, features // count), f"{name}.split")
    return transpose(net, x, (0, 2, 3, 1) if keys else (0, 2, 1, 3), f"{name}.heads")


def scores(net: Net, query: Value, key: Value, name: str) -> Value:
    """Scaled products of queries and keys."""
    shape = (*query.shape[:-1], key.shape[-1])
    raw = net.op("MatMul", f"{name}.products", [query, key], shape)
    return net.op("Div", f"{name}.scaled", [raw, net.scalar("head_scale", sqrt(query.shape[-1]))], shape)


def attend(net: Net, score: Value, value: Value, name: str) -> Value:
    """Softmax of the masked scores, weighted sum of the values, heads joined again."""
    weights = net.op("Softmax", f"{name}.softmax", [score], score.shape, axis=-1)
    batch, count, sequence, size = value.shape
    x = net.op("MatMul", f"{name}.context", [weights, value], value.shape)
    x = transpose(net, x, (0, 2, 1, 3), f"{name}.by_position")
    return reshape(net, x, (batch, sequence, count * size), f"{name}.joined")


def gelu_erf(net: Net, x: Value, name: str) -> Value:
    """GELU as x / 2 * (1 + erf(x / sqrt 2)) in five nodes (Hendrycks and Gimpel, arXiv:1606.08415)."""
    y = net.op("Div", f"{name}.div", [x, net.scalar("sqrt_two", sqrt(2))], x.shape)
    y = net.op("Erf", f"{name}.erf", [y], x.shape)
    y = net.op("Add", f"{name}.add", [y, net.scalar("one", 1.0)], x.shape)
    y = net.op("Mul", f"{name}.mul", [x, y], x.shape)
    return net.op("Mul", name, [y, net.scalar("half", 0.5)], x.shape)


def gelu_tanh(net: Net, x: Value, name: str) -> Value:
    """GELU as x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) in eight nodes, GPT-2's form."""
    y = net.op("Pow", f"{name}.cube", [x, net.scalar("three", 3.0)], x.shape)
    y = net.op("Mul", f"{name}.cubic", [y, net.scalar("gelu_cubic", 0.044715)], x.shape)
    y = add(net, x, y, f"{name}.sum")
    y = net.op("Mul", f"{name}.scaled", [y, net.scalar("gelu_scale", sqrt(2 / np.pi))], x.shape)
    y = net.op("Tanh", f"{name}.tanh", [y], x.shape)
    y = net.op("Add", f"{name}.add", [y, net.scalar("one", 1.0)], x.shape)
    half = net.op("Mul", f"{name}.half", [x, net.scalar("half", 0.5)], x.shape)
    return net.op("Mul", name, [half, y], x.shape)


def _weights(net: Net, depth: int, features: int, name: str) -> tuple[str, str]:
    """Weight (depth, features) that keeps the variance, and bias."""
    return net.weight(f"{name}.weight", (depth, features), spread=sqrt(3 / depth)), net.weight(
        f"{name}.bias", (features,), spread=0.1
    )
