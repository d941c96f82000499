"""What both cases of the pass share: the nodes that one takes out and the other adds."""

from roofwright.passes.fusion import FuseConcat
from tests.passes.fusion.test_concat_sum import FILTERS, GHOST, MACHINE, ODD
from tests.passes.harness import build, counts, ops, run_pass


def test_nothing_is_split_that_would_add_nodes() -> None:
    body = "u = Conv(x, p) v = Conv(x, q) t = Concat<axis = 1>(u, v) y = Conv(t, k)"
    model = build(f"(float[1,8,64,64] x) => (float[1,4,64,64] y) {{ {body} }}", {n: ODD[n] for n in "pqk"})
    _, after, result = run_pass(FuseConcat(), model, target=MACHINE)
    assert ops(after) == "Concat Conv Conv Conv"
    assert "nothing else took so many out" in result.records[0].reason


def test_nodes_that_are_won_may_be_spent_once() -> None:
    body = f"""c = Conv(x, w, b) f = {FILTERS}(c, d, e) j = Concat<axis = 1>(c, f) u = Conv(j, p) v = Conv(x, q)
        t = Concat<axis = 1>(u, v) y = Conv(t, k) r = Conv(j, p) o = Concat<axis = 1>(v, r) z = Conv(o, i)"""
    text = f"(float[1,8,64,64] x) => (float[1,4,64,64] y, float[1,4,64,64] z) {{ {body} }}"
    arrays = GHOST | {name: ODD[name] for name in "pqk"} | {"i": ODD["k"]}
    _, after, result = run_pass(FuseConcat(), build(text, arrays), target=MACHINE)
    assert counts(after)["Concat"] == 1
    assert [record.reason for record in result.records if not record.applied] == [
        "it adds nodes, and nothing else took so many out"
    ]
