"""How far an order of channels reaches."""

import pytest

from roofwright.passes.units import ChannelShuffles
from tests.passes.harness import build, int64, ops, run_pass, same
from tests.passes.units.shuffles import CONVS, SHAPES, SHUFFLE, between

ARRAYS = {**SHAPES, **CONVS}


def test_a_region_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(between("b = Relu(s) z = Neg(b)"), ARRAYS)
    monkeypatch.setattr("roofwright.passes.units.region._MOST_TENSORS", 2)
    reasons = [record.reason for record in run_pass(ChannelShuffles(), model)[2].records]
    assert ["where it cannot be followed" in reason for reason in reasons] == [True]


def test_an_order_is_not_followed_to_a_number_of_channels_that_is_not_known() -> None:
    """What a Split makes is declared; what it reads has a rank that only a run knows."""
    text = f"""(float[1,12,4,4] x, bool[4] flags) => (float[1,7,4,4] y, float[1,6,4,4] q)
        <float[1,6,4,4] a> {{ to = Compress(sizes, flags) u = Reshape(x, to) a, q = Split<axis = 1>(u, halves)
        {SHUFFLE} y = Conv(s, w) }}"""
    arrays = {**ARRAYS, "sizes": int64([1, 12, 4, 4]), "halves": int64([6, 6])}
    reasons = [record.reason for record in run_pass(ChannelShuffles(), build(text, arrays))[2].records]
    assert ["reaches 'u'" in reason for reason in reasons] == [True]


@pytest.mark.parametrize("inner", ["zt = Split<axis = 1>(s)", "zt = Concat<axis = 1>(s)", "zt = Relu(s)"])
def test_what_a_body_reads_keeps_its_order(inner: str) -> None:
    text = f"""(float[1,5,4,4] x, bool c) => (float[1,7,4,4] y, float[1,6,4,4] z) {{ a = Conv(x, v) {SHUFFLE}
        y = Conv(s, w) z = If (c) <then_branch = b () => (float[1,6,4,4] zt) {{ {inner} }},
        else_branch = e () => (float[1,6,4,4] ze) {{ ze = Neg(s) }}> }}"""
    before, after, result = run_pass(ChannelShuffles(), build(text, ARRAYS))
    assert result.changed
    assert sorted(node.op_type for node in after.graph.node) == ["Conv", "Conv", "If"]
    assert ops(after) == inner.split()[2].split("<")[0].split("(")[0]
    same(before, after, exact=False)
