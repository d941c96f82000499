"""Skeletons around products of matrices, and operators written out, for tensors of any rank."""

import numpy as np

from tests.properties.blocks_images import activation, arithmetic, need
from tests.properties.draft import Draft


def matmul(d: Draft, x: str, out: int = 0) -> str:
    """A product with a constant matrix, on the right or on the left."""
    need(d.rank(x) >= 2)
    if not out and d.rarely():
        return d.add("MatMul", d.weight(3, d.shape(x)[-2]), x)
    return d.add("MatMul", x, d.weight(d.shape(x)[-1], out or d.pick(4, 3, 1, 8)))


def gemm(d: Draft, x: str) -> str:
    """Gemm with all of its attributes."""
    need(d.rank(x) == 2)
    trans_a, trans_b = d.pick(0, 0, 1), d.pick(0, 1)
    m, k = d.shape(x)[::-1] if trans_a else d.shape(x)
    n = d.pick(4, 3, 1)
    weight = d.weight(*((n, k) if trans_b else (k, n)))
    bias = d.pick((n,), (1, n), (), (m, 1), (m, n), None)
    inputs = (x, weight, *(() if bias is None and d.opset >= 11 else (d.weight(*(bias or ())),)))
    return d.add(
        "Gemm", *inputs, alpha=d.pick(1.0, 0.5, 0.0), beta=d.pick(1.0, 2.0, 0.0), transA=trans_a, transB=trans_b
    )


def biased(d: Draft, x: str) -> str:
    """A product and what becomes its bias, or does not."""
    y: str = d.pick(matmul, gemm)(d, x)
    for _ in range(d.pick(1, 2)):
        y = arithmetic(d, y)
    return y


def transposed_product(d: Draft, x: str) -> str:
    """Transposes around a product."""
    need(d.rank(x) >= 2)
    perm = [*range(d.rank(x) - 2), d.rank(x) - 1, d.rank(x) - 2]
    y = d.add("Transpose", x, **d.pick({"perm": perm}, {"perm": perm}, {}))
    y = d.pick(matmul, gemm)(d, y)
    return d.add("Transpose", y, perm=perm) if d.pick(False, True) else y


def flat_product(d: Draft, x: str) -> str:
    """A product between Reshapes that join the leading axes and part them again."""
    size = d.shape(x)
    need(len(size) >= 2)
    y = d.reshape(x, d.pick(-1, int(np.prod(size[:-1]))), size[-1])
    y = d.pick(gemm, matmul)(d, y)
    y = arithmetic(d, y) if d.pick(False, True) else y
    return d.reshape(y, *d.pick(size[:-1], size[:-1], (-1, *size[1:-1])), d.shape(y)[-1])


def computed_product(d: Draft, x: str) -> str:
    """A product of two computed matrices, scaled somewhere."""
    need(d.rank(x) >= 2)
    a, b = (arithmetic(d, matmul(d, x, 4)) for _ in range(2))
    perm = [*range(d.rank(b) - 2), d.rank(b) - 1, d.rank(b) - 2]
    y = d.add("MatMul", a, d.add("Transpose", b, perm=perm))
    y = d.add(d.pick("Div", "Mul"), y, d.number(2.0)) if d.pick(True, False) else y
    return d.add("Softmax", y, axis=d.pick(-1, -1, 1)) if d.opset >= 13 and d.pick(True, False) else y


def attention(d: Draft, x: str) -> str:
    """Heads, scores, mask and softmax, or nearly."""
    need(d.rank(x) == 3)
    b, s, _ = d.shape(x)
    heads, width = d.pick(2, 1), 4
    q, k, v = (biased_heads(d, x, b, s, heads, width) for _ in range(3))
    perm = d.pick([0, 2, 1, 3], [0, 2, 1, 3], [0, 1, 2, 3])
    q, v = (d.add("Transpose", t, perm=perm) for t in (q, v))
    k = d.add("Transpose", k, perm=d.pick([0, 2, 3, 1], [0, 2, 3, 1], [0, 2, 1, 3]))
    q = d.add("Mul", q, d.number(0.5)) if d.pick(False, True) else q
    scores = d.add("MatMul", q, k)
    scores = d.add("Div", scores, d.number(2.0)) if d.pick(True, False) else scores
    if d.pick(False, True):
        scores = d.sum(scores, d.weight(*d.pick((1, 1, s, s), (s, s), (b, 1, 1, s), (b, heads, s, s), (s, 1))))
    y = d.add("MatMul", d.add("Softmax", scores, axis=d.pick(-1, 3, -2)), v)
    return d.reshape(d.add("Transpose", y, perm=[0, 2, 1, 3]), b, s, -1)


def biased_heads(d: Draft, x: str, b: int, s: int, heads: int, width: int) -> str:
    """One of query, key and value."""
    y = matmul(d, x, heads * width)
    y = d.sum(y, d.weight(heads * width)) if d.pick(False, True) else y
    return d.reshape(y, *d.pick((b, s, heads, width), (0, 0, heads, width), (0, -1, heads, width)))


def row_siblings(d: Draft, x: str) -> str:
    """Products of one tensor: gates, LoRA, parts of a Concat."""
    a, b = (d.pick(matmul, matmul, gemm)(d, x) for _ in range(2))
    a, b = (d.sum(y, d.weight(d.shape(y)[-1])) for y in (a, b)) if d.pick(False, True) else (a, b)
    a = activation(d, a) if d.pick(False, True) else a
    return d.add("Concat", a, b, axis=-1) if d.pick(False, True) else d.pick(d.product, d.sum)(a, b)


def row_chain(d: Draft, x: str) -> str:
    """Products one behind the other, narrow or wide between, and beside another."""
    y = matmul(d, matmul(d, x, d.pick(4, 1, 8)), 4)
    return d.sum(y, matmul(d, x, 4)) if d.pick(False, True) else y


def scaled(d: Draft, x: str) -> str:
    """One number, a view away from the weights it may go into."""
    y = d.add(d.pick("Mul", "Div"), d.pick(matmul, gemm)(d, x), d.number(d.pick(0.5, 0.125, 3.0)))
    y = d.add("Transpose", y)
    y = d.reshape(y, -1, d.shape(y)[-1]) if d.pick(True, False) else y
    return matmul(d, y) if d.pick(False, True) else y


_EQUATIONS = {
    2: ("ij,jk->ik", "ij,kj->ki", "ij->ji", "ij,j->ij", "ij->i", "...j,jk->...k", "ij,ij->ij", "ij,ij->i", "ij,ij"),
    3: ("bij,jk->bik", "bij,bkj->bik", "bij,bij->bi", "bij->bji", "bij,jhd->bhid", "bij,bij->bij", "bij,i->bj"),
    4: ("bhij,bhkj->bhik", "bhij->bihj", "bihj,bkhj->bhik", "bhij,jk->bhik", "bchj,oc->bohj", "bhij,hjk->bhik"),
}


def einsum(d: Draft, x: str) -> str:
    """Einsum with a constant, or with itself where the terms are as long."""
    need(d.opset >= 12)
    equation = d.pick(*_EQUATIONS.get(d.rank(x), ("...i->...",)))
    first, _, second = equation.split("->")[0].partition(",")
    if not second:
        return d.add("Einsum", x, equation=equation)
    if len(first) == len(second) and d.pick(True, False):
        return d.add("Einsum", x, x, equation=equation)
    sizes = dict(zip(reversed(first), reversed(d.shape(x)), strict=False))
    other = d.weight(*(sizes.get(label, 3) for label in second))
    return d.add("Einsum", *d.pick((x, other), (x, other), (other, x)), equation=equation)


def lstm(d: Draft, x: str) -> str:
    """A recurrent layer with states of zeros."""
    need(d.rank(x) == 3 and d.dtype == np.float32 and d.opset >= 14)
    steps, batch, width = d.shape(x)
    need(steps * batch * width > 0)  # onnxruntime divides by it
    zero = np.zeros((1, batch, 2)) + d.pick(0.0, 0.0, -0.0, 0.5)
    y = d.many(
        "LSTM",
        3,
        x,
        d.weight(1, 8, width),
        d.weight(1, 8, 2),
        d.weight(1, 16),
        "",
        d.const(zero),
        d.const(zero),
        hidden_size=2,
    )[0]
    return d.add("Squeeze", y, axes=[1])


ROWS = (
    biased, gemm, matmul, transposed_product, flat_product, computed_product, attention, row_siblings, row_chain,
    scaled, einsum, lstm,
)  # fmt: skip
