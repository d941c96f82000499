"""Matrix products: MatMul, Gemm, their quantised forms, attention.

A product (M, K) x (K, N) is the 1 x 1 convolution that `LoopNest` describes. Leading axes along which the right operand
does not change are folded into M (one large product), the others are `repeat`ed copies.
"""

from roofwright.cost_model.ops.facts import Facts, Shape, Unmodelled
from roofwright.cost_model.work import LoopNest, Work

_REQUANTIZE_LANES = 5  # scale, round, zero point, two bounds


def gemm_nest(m: int, n: int, k: int, repeat: int = 1, steps: int = 1) -> LoopNest:
    """`repeat` products (m, k) x (k, n), all of it `steps` times in sequence."""
    return LoopNest(repeat=repeat, out_h=m, out_channels=n, in_channels=k, in_h=m, steps=steps)


def product_nest(left: Shape, right: Shape) -> LoopNest:
    """The nest of numpy.matmul, with vectors promoted and leading axes broadcast."""
    if not left or not right:
        raise Unmodelled("a matrix product of a scalar")
    left = left if len(left) > 1 else (1, *left)
    right = right if len(right) > 1 else (*right, 1)
    rank = max(len(left), len(right)) - 2
    left_batch = (1,) * (rank + 2 - len(left)) + left[:-2]
    right_batch = (1,) * (rank + 2 - len(right)) + right[:-2]
    rows, repeat = left[-2], 1
    for a, b in zip(left_batch, right_batch, strict=True):
        rows, repeat = (rows * a, repeat) if b == 1 else (rows, repeat * b)
    return gemm_nest(rows, right[-1], left[-1], repeat)


def matmul(ask: Facts) -> Work:
    """MatMul."""
    return ask.work("matmul", nests=(product_nest(ask.shape(0), ask.shape(1)),))


def gemm(ask: Facts) -> Work:
    """Gemm: one lane operation per output for each of `C` and an `alpha` other than 1."""
    left, (m, n) = ask.shape(0), ask.out_shape()
    k = left[0] if ask.attr("transA", 0) else left[1]
    steps = bool(ask.input(2)) + (ask.attr("alpha", 1.0) != 1.0)
    return ask.work("matmul", steps * m * n, nests=(gemm_nest(m, n, k),))


def matmul_integer(ask: Facts) -> Work:
    """MatMulInteger: a zero point costs one subtraction per element of an operand that is not constant."""
    lanes = sum(
        ask.size(place) for place in (0, 1) if ask.input(place + 2) and not ask.is_constant(ask.node.inputs[place])
    )
    return ask.work("matmul", lanes, nests=(product_nest(ask.shape(0), ask.shape(1)),))


def qlinear_matmul(ask: Facts) -> Work:
    """QLinearMatMul: an integer product, then requantisation of every output."""
    return ask.work("matmul", _REQUANTIZE_LANES * ask.out_size(), nests=(product_nest(ask.shape(0), ask.shape(3)),))


def _heads(ask: Facts, position: int, attribute: str) -> tuple[int, int, int, int]:
    """(batch, heads, length, width of a head) of a 3-D or 4-D attention operand."""
    shape = ask.shape(position)
    if len(shape) == 4:
        return shape
    heads = int(ask.attr(attribute, 0))
    if len(shape) != 3 or not heads:
        raise Unmodelled(f"an attention operand of rank {len(shape)} without {attribute}")
    return shape[0], heads, shape[1], shape[2] // heads


def attention(ask: Facts) -> Work:
    """Attention (opset 23): scores = Q K^T, softmax, Y = scores V, in one kernel that keeps the scores on chip.

    Query heads that share a key head are rows of one product. A causal mask skips nothing here: all scores are counted.
    Per score: scaling, mask, soft cap (tanh and two steps), softmax as in `normalize`.
    """
    batch, heads, length, width = _heads(ask, 0, "q_num_heads")
    _, kv_heads, kv_length, _ = _heads(ask, 1, "kv_num_heads")
    value_width = _heads(ask, 2, "kv_num_heads")[3]
    total = kv_length + (ask.shape(4)[2] if ask.input(4) else 0)
    copies, rows = batch * kv_heads, length * heads // max(1, kv_heads)
    scores = batch * heads * length * total
    masked = bool(ask.input(3)) or bool(ask.attr("is_causal", 0))
    capped = bool(ask.attr("softcap", 0.0))
    return ask.work(
        "matmul",
        (4 + masked + 2 * capped) * scores,
        (2 + capped) * scores,
        nests=(gemm_nest(rows, total, width, copies), gemm_nest(rows, value_width, total, copies)),
    )


def linear_attention(ask: Facts) -> Work:
    """LinearAttention as its recurrence: per token and key head an outer product into the state and a product with it.

    A delta rule reads the state once more. Gates are one exp and one multiplication of the state per step.
    """
    batch, tokens, _ = ask.shape(0)
    heads, kv_heads = int(ask.attr("q_num_heads")), int(ask.attr("kv_num_heads"))
    width, value_width = ask.shape(1)[2] // kv_heads, ask.shape(2)[2] // kv_heads
    rule, copies = str(ask.attr("update_rule", "gated_delta")), batch * kv_heads
    update = gemm_nest(width, value_width, 1, copies, tokens)
    read = gemm_nest(heads // kv_heads, value_width, width, copies, tokens)
    nests = (update, read, gemm_nest(1, value_width, width, copies, tokens)) if "delta" in rule else (update, read)
    lanes = copies * tokens * width * value_width if "gated" in rule else 0
    specials = ask.size(4) if "gated" in rule else 0
    return ask.work("recurrent", lanes + ask.out_size(0), specials, nests=nests)
