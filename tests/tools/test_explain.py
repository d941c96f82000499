"""`--explain`: every rewrite with its nodes and gain, every near miss with its reason, and what the check measured."""

from dataclasses import replace

import pytest

from roofwright.graph import read
from roofwright.passes import Check, Difference, Options, PassReport, Record, Report, optimize_graph
from roofwright.targets import load_target
from roofwright.tools.report.checked import add_check
from roofwright.tools.report.explain import add_misses, add_rewrites
from roofwright.tools.report.graph_diff import add_graph_diff
from roofwright.tools.report.page import Page
from tests.builders import model
from tests.tools.command import Invoke, block


@pytest.fixture(scope="module")
def report() -> Report:
    return optimize_graph(read(block()), load_target("tpuv2"), Options(check=False))[1]


def rewrites(report: Report, *records: Record, every: bool = False) -> list[str]:
    """The lines for these records of one pass."""
    page = Page(110)
    numbered = tuple(replace(record, number=at + 1) for at, record in enumerate(records))
    passes = (PassReport("a-pass", "exact", len(records), 0.0, records=numbered),)
    add_rewrites(page, replace(report, passes=passes), every=every)
    return page.lines[1:]


def test_every_rewrite_is_a_line_with_its_nodes_and_gain(report: Report) -> None:
    fold = Record("fold", "n", "Mul", True, consumed=(("Conv", "c"), ("Mul", "n")), produced=(("Conv", "n"),))
    split = Record("split", "m", "Conv", True, produced=(("Conv", "m_1"), ("Conv", "m")))
    lines = rewrites(report, replace(fold, gain_s=2e-6, gain_bytes=2048), replace(split, gain_s=-1e-6, gain_bytes=0))
    assert lines == [
        "rewrites: 2 (modelled change of time and off-chip bytes, op by op)",
        "  a-pass",
        "    #1  fold   -2.00 us  -2.0 KiB  Conv c + Mul n --> Conv n",
        "    #2  split  +1.00 us       0 B  Conv --> Conv m_1 + Conv m",
    ]


def test_rewrites_of_a_kind_without_a_gain_share_a_line(report: Report) -> None:
    gone = [Record("drop", f"i{at}", "Identity", True, consumed=(("Identity", f"i{at}"),)) for at in range(5)]
    assert rewrites(report, *gone)[2:] == ["    5 x drop, Identity --> nothing, no gain: i0, i1, i2, ..."]
    assert rewrites(report, *gone, every=True)[2:] == [
        "    5 x drop, Identity --> nothing, no gain: i0, i1, i2, i3, i4"
    ]


def test_what_changes_no_node_is_told_by_its_place(report: Report) -> None:
    fixed = [Record("fix", f"r{at}", "Reshape", True) for at in range(2)]
    assert rewrites(report, *fixed)[2:] == ["    2 x fix, at Reshape, no gain: r0, r1"]
    assert rewrites(report, replace(fixed[0], gain_s=1e-6, gain_bytes=0))[2].endswith("at Reshape r0")


def test_names_of_a_model_cannot_move_the_cursor(report: Report) -> None:
    wild = Record("fold", "a\x1b[2J", "Mul", True, consumed=(("Mul", "a\x1b[2J\n"),), gain_s=1e-6, gain_bytes=1)
    missed = Record("fold", "a", "Mul", False, "'a\x1b[2J\n' is also read by 'b'")
    page = Page(110)
    add_misses(page, replace(report, passes=(PassReport("p", "exact", 0, 0.0, records=(missed,)),)), every=True)
    text = "".join((*rewrites(report, wild), *page.lines))
    assert "\x1b" not in text
    assert "\n" not in text
    assert "\\x1b[2J" in text


def misses(report: Report, every: bool) -> list[str]:
    page = Page(110)
    shared = [Record("fold", f"n{at}", "Mul", False, f"'c{at}' is an output of a graph") for at in range(3)]
    same = [Record("look", f"m{at}", "Add", False, "it divides by 0") for at in range(2)]
    others = [Record(f"rule-{at}", "k", "Add", False, "no") for at in "abc"]
    passes = (PassReport("p", "exact", 0, 0.0, records=(*shared, *same, *others)),)
    add_misses(page, replace(report, passes=passes), every=every)
    return page.lines[1:]


def test_near_misses_are_grouped_by_reason(report: Report) -> None:
    assert misses(report, every=False) == [
        "near misses: 8 (2 more reasons with -v)",
        "  3 x p, fold: 'c0' is an output of a graph (Mul n0, ...)",
        "  2 x p, look: it divides by 0 (Add m0, ...)",
        "  1 x p, rule-a: no (Add k)",
    ]
    assert misses(report, every=True)[:6] == [
        "near misses: 8",
        "  3 x p, fold",
        "    Mul n0: 'c0' is an output of a graph",
        "    Mul n1: 'c1' is an output of a graph",
        "    Mul n2: 'c2' is an output of a graph",
        "  2 x p, look: it divides by 0 (Add m0, Add m1)",
    ]


def checked(report: Report, check: Check, every: bool = False) -> list[str]:
    page = Page(160)
    add_check(page, replace(report, check=check), every=every)
    return page.lines


def test_differences_of_one_output_are_one_line(report: Report) -> None:
    one = Check("passed", "", 5, 1, 1e-5, 2e-6, 12.0, "y", (Difference("y", 1e-5, 2e-6, 12.0),))
    assert checked(report, one) == [
        "check    passed: original and result on 5 input sets, largest difference 1e-05, relative 2e-06, 12 ulp at "
        "output y (measured)"
    ]
    assert checked(report, Check("passed", "", 1, 1)) == [
        "check    passed: original and result on 1 input set, no difference (measured)"
    ]
    assert checked(report, Check("not verified", "no inputs")) == ["check    not verified: no inputs"]


def test_several_outputs_are_told_one_by_one_the_worst_first(report: Report) -> None:
    outputs = tuple(Difference(name, at, at / 10, at) for at, name in enumerate("abcdef"))
    several = Check("passed", "", 10, 2, 5.0, 0.5, 5.0, "f", outputs)
    lines = checked(report, several)
    assert "on 10 input sets of 2 sizes," in lines[0]
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "output f",
        "output e",
        "output d",
        "and 2 more outputs (-v)",
        "no difference at 1 output",
    ]
    assert len(checked(report, several, every=True)) == 1 + 5 + 1


def test_bodies_are_compared_too() -> None:
    text = """g (bool k, float[4] x) => (float[4] y) {
        y = If (k) <then_branch = t () => (float[4] p) { p = Neg(x) }, else_branch = e () => (float[4] q) { q = OP(x) }>
    }"""
    before, after = (read(model(text.replace("OP", op))) for op in ("Exp", "Abs"))
    page = Page(100)
    add_graph_diff(page, before, after, lines=True)
    rows = [line.split() for line in page.lines[2:7]]
    assert rows[:2] == [["Abs", "0", "1"], ["Exp", "1", "0", "-100.0", "%"]]
    assert rows[-1] == ["all", "3", "3", "0.0", "%"]
    assert [line for line in page.lines if line.startswith(("+ ", "- "))] == [
        "-  q = Exp(x)",
        "+  q = Abs(x)",
    ]


def test_the_command_shows_it_all(invoke: Invoke, folder: object) -> None:
    done = invoke("m.onnx", "--dry-run", "--explain", "--target", "tpuv2")
    assert (done.code, done.err) == (0, "")
    assert "Conv c + BatchNormalization n --> Conv n" in done.out
    assert "worst cause" not in done.out
