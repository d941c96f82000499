"""Matrix products, attention and Einsum."""

from math import prod

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from roofwright.cost_model.ops.matmul import product_nest
from roofwright.cost_model.work import LoopNest
from tests.cost_model.asks import weight, work


def gemm(m: int, n: int, k: int, repeat: int = 1, steps: int = 1) -> LoopNest:
    return LoopNest(repeat=repeat, out_h=m, out_channels=n, in_channels=k, in_h=m, steps=steps)


def test_a_shared_right_operand_is_one_product() -> None:
    assert work("MatMul", [(2, 128, 768), weight(768, 3072)], [(2, 128, 3072)]).nest == gemm(256, 3072, 768)


def test_a_batched_product_is_repeated() -> None:
    assert work("MatMul", [(2, 12, 128, 64), (2, 12, 64, 128)], [(2, 12, 128, 128)]).nest == gemm(128, 128, 64, 24)
    assert product_nest((2, 12, 5, 7), (1, 12, 7, 3)) == gemm(10, 3, 7, 12)  # the same right operand for both samples


def test_vectors() -> None:
    assert product_nest((7,), (7,)) == gemm(1, 1, 7)
    assert product_nest((4, 7), (7,)) == gemm(4, 1, 7)
    assert product_nest((7,), (3, 7, 5)) == gemm(1, 5, 7, 3)


_DIMS = st.lists(st.integers(1, 4), max_size=3)


@given(_DIMS, _DIMS, st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
def test_macs_of_any_broadcast(left: list[int], right: list[int], m: int, n: int, k: int) -> None:
    try:
        batch = np.broadcast_shapes(tuple(left), tuple(right))
    except ValueError:
        assume(False)
    assert product_nest((*left, m, k), (*right, k, n)).macs == prod(batch) * m * n * k


def test_an_empty_tensor_has_no_nest() -> None:
    empty = work("MatMul", [(0, 4), (4, 5)], [(0, 5)])
    assert (empty.nest, empty.macs, empty.kind) == (None, 0, "matmul")


def test_gemm() -> None:
    head = work("Gemm", [(1, 1280), weight(1000, 1280), weight(1000)], [(1, 1000)], transB=1)
    assert (head.nest, head.lane_ops) == (gemm(1, 1000, 1280), 1000)
    turned = work("Gemm", [(6, 4), (6, 5)], [(4, 5)], transA=1, alpha=0.5)
    assert (turned.nest, turned.lane_ops) == (gemm(4, 5, 6), 20)


def test_integer_products() -> None:
    types = ["uint8", "int8", "uint8", "int8", "int32"]
    product = work("MatMulInteger", [(4, 8), weight(8, 3, dtype=np.int8), (), ()], [(4, 3)], dtypes=types)
    assert (product.macs, product.lane_ops) == (96, 32)  # the weight's zero point is folded
    assert [o.dtype for o in product.reads] == ["uint8", "int8", "uint8", "int8"]
    shapes = [(4, 8), (), (), (8, 3), (), (), (), ()]
    types = ["int8", "float32", "int8", "int8", "float32", "int8", "float32", "int8", "int8"]
    assert work("QLinearMatMul", shapes, [(4, 3)], dtypes=types).lane_ops == 5 * 12


def test_attention() -> None:
    layer = work("Attention", [(2, 8, 16, 64), (2, 8, 32, 64), (2, 8, 32, 48)], [(2, 8, 16, 48)])
    assert layer.nests == (gemm(16, 32, 64, 16), gemm(16, 48, 32, 16))
    scores = 2 * 8 * 16 * 32
    assert (layer.lane_ops, layer.special_ops) == (4 * scores, 2 * scores)
    assert sum(o.elements for o in layer.reads) == 2 * 8 * (16 * 64 + 32 * 64 + 32 * 48)  # scores stay on chip


def test_attention_with_grouped_heads_and_a_past() -> None:
    layer = work(
        "Attention",
        [(1, 1, 8 * 64), (1, 1, 2 * 64), (1, 1, 2 * 64), None, (1, 2, 99, 64), (1, 2, 99, 64)],
        [(1, 1, 512), (1, 2, 100, 64), (1, 2, 100, 64)],
        q_num_heads=8,
        kv_num_heads=2,
        is_causal=1,
        softcap=30.0,
    )
    assert layer.nests == (gemm(4, 100, 64, 2), gemm(4, 64, 100, 2))
    assert layer.macs == 2 * 8 * 100 * 64
    assert (layer.lane_ops, layer.special_ops) == (7 * 800, 3 * 800)
    assert sum(o.elements for o in layer.writes) == 512 + 2 * 2 * 100 * 64


def test_linear_attention() -> None:
    shapes = [(1, 5, 4 * 8), (1, 5, 2 * 8), (1, 5, 2 * 16)]
    outputs = [(1, 5, 4 * 16), (1, 2, 8, 16)]
    plain = work("LinearAttention", shapes, outputs, q_num_heads=4, kv_num_heads=2, update_rule="linear")
    assert plain.macs == 5 * 2 * (8 * 16 + 2 * 8 * 16)
    delta = work("LinearAttention", shapes, outputs, q_num_heads=4, kv_num_heads=2, update_rule="delta")
    assert delta.macs == plain.macs + 5 * 2 * 8 * 16


@pytest.mark.parametrize(
    ("equation", "shapes", "out", "nests"),
    [
        ("ij,jk->ik", [(3, 4), (4, 5)], (3, 5), (gemm(3, 5, 4),)),
        ("bhid,bhjd->bhij", [(2, 3, 4, 8), (2, 3, 5, 8)], (2, 3, 4, 5), (gemm(4, 5, 8, 6),)),
        ("...ij,...jk", [(2, 3, 4), (2, 4, 5)], (2, 3, 5), (gemm(3, 5, 4, 2),)),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], (2, 5), (gemm(2, 4, 3), gemm(2, 5, 4))),
        ("i,i", [(7,), (7,)], (), (gemm(1, 1, 7),)),
        ("ij,k->ik", [(2, 3), (4,)], (2, 4), ()),
        ("i,j->ij", [(2,), (3,)], (2, 3), ()),
    ],
)
def test_einsum(
    equation: str, shapes: list[tuple[int, ...]], out: tuple[int, ...], nests: tuple[LoopNest, ...]
) -> None:
    assert work("Einsum", shapes, [out], equation=equation).nests == nests


def test_einsum_of_one_operand_and_of_products() -> None:
    assert work("Einsum", [(2, 3)], [(3, 2)], equation="ij->ji").kind == "move"
    assert work("Einsum", [(2, 3)], [(2,)], equation="ij->i").lane_ops == 6
    outer = work("Einsum", [(2,), (3,)], [(2, 3)], equation="i,j->ij")
    assert (outer.kind, outer.lane_ops) == ("elementwise", 6)
    assert work("Einsum", [(2, 3), (4,)], [(2, 4)], equation="ij,k->ik").lane_ops == 6 + 8  # j is summed first


def test_an_equation_that_does_not_fit_is_not_modelled() -> None:
    assert work("Einsum", [(2, 3)], [(2,)], equation="ijk->i").kind == "not_modelled"
    assert work("Einsum", [(2, 3)], [(2,)], equation="ij,jk->i").kind == "not_modelled"


@given(st.data())
def test_einsum_macs_are_the_product_of_all_labels(data: st.DataObject) -> None:
    roles = {label: data.draw(st.sampled_from("bmnk")) for label in "pqrstu"}
    roles["v"] = "k"  # something to sum over
    sizes = {label: data.draw(st.integers(1, 4)) for label in roles}
    terms = ["".join(x for x in roles if roles[x] in side) for side in ("bmk", "bkn", "bmn")]
    shapes = [tuple(sizes[x] for x in term) for term in terms]
    counted = work("Einsum", shapes[:2], [shapes[2]], equation=f"{terms[0]},{terms[1]}->{terms[2]}")
    assert counted.macs == prod(sizes.values())
    assert counted.lane_ops == 0
