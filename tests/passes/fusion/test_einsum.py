import pytest

from roofwright.passes.base import Decline
from roofwright.passes.fusion import SplitEinsum
from roofwright.passes.fusion.equation import parse
from roofwright.targets import load_target
from tests.passes.harness import PLACES, Array, Case, build, check, counts, int64, random, run_pass, same

TWO = '({a} a, {b} b) => ({y} y) {{ y = Einsum<equation = "{e}">(a, b) }}'
CONSTANT = '({a} a) => ({y} y) {{ y = Einsum<equation = "{e}">(a, w) }}'


def case(equation: str, a: str, b: str, y: str, after: str | None, **more: object) -> Case:
    text = TWO.format(e=equation, a=f"float[{a}]", b=f"float[{b}]", y=f"float[{y}]")
    return Case(f"{equation} of {a} and {b}", text, after, exact=False, **more)  # type: ignore[arg-type] # fields of Case


def weighted(equation: str, a: str, shape: tuple[int, ...], y: str, after: str | None) -> Case:
    text = CONSTANT.format(e=equation, a=f"float[{a}]", y=f"float[{y}]")
    return Case(f"{equation} of {a} and a constant", text, after, arrays={"w": random(*shape)}, exact=False)


def alone(equation: str, a: str, y: str, after: str | None, **more: object) -> Case:
    text = f'(float[{a}] a) => (float[{y}] y) {{ y = Einsum<equation = "{equation}">(a) }}'
    return Case(f"{equation} of {a}", text, after, exact=False, **more)  # type: ignore[arg-type] # fields of Case


CASES = [
    case("ij,jk->ik", "2,3", "3,4", "2,4", "MatMul"),
    case("ij,jk", "2,3", "3,4", "2,4", "MatMul"),
    case(" ij , jk -> ik ", "2,3", "3,4", "2,4", "MatMul"),
    case("jk,ij->ik", "3,4", "2,3", "2,4", "MatMul"),
    case("bij,bjk->bik", "5,2,3", "5,3,4", "5,2,4", "MatMul"),
    case("bhij,bhjk->bhik", '"n",5,"s",3', '"n",5,3,"s"', '"n",5,"s","s"', "MatMul"),
    case("...ij,...jk->...ik", "5,2,3", "5,3,4", "5,2,4", "MatMul"),
    case("...ij,jk->...ik", '"n",5,2,3', "3,4", '"n",5,2,4', "MatMul"),
    case("ij,j->i", "2,3", "3", "2", "MatMul"),
    case("j,jk->k", "3", "3,4", "4", "MatMul"),
    case("bsd,dhk->bshk", "2,5,6", "6,3,4", "2,5,3,4", None, declines="only where a target prices it"),
    case("bshk,hkd->bsd", '"n","s",3,4', "3,4,6", '"n","s",6', None, declines="only where a target prices it"),
    case("bi,bi->b", "5,3", "5,3", "5", None, declines="only where a target prices it"),
    weighted("bsd,dhk->bshk", '"n","s",6', (6, 3, 4), '"n","s",3,4', "MatMul Reshape"),
    weighted("bshk,hkd->bsd", '"n","s",3,4', (3, 4, 6), '"n","s",6', "MatMul Reshape"),
    weighted("bsd,hd->bsh", "2,5,6", (4, 6), "2,5,4", "MatMul"),
    weighted("bsd,hkd->bshk", "2,5,6", (3, 4, 6), "2,5,3,4", "MatMul Reshape"),
    alone("ij->ji", "2,3", "3,2", "Transpose"),
    alone("...ij->...ji", "5,2,3", "5,3,2", "Transpose"),
    alone("bij->b", "5,2,3", "5", "ReduceSum"),
    alone("bij->b", "5,2,3", "5", "ReduceSum", opset=12),
    alone("ij->ij", "2,3", "2,3", "Identity"),
    alone("bij->ji", "5,2,3", "3,2", None),
    case("bij,bij->bij", "5,2,3", "5,2,3", "5,2,3", "Mul"),
    case("bij,j->bij", "5,2,3", "3", "5,2,3", "Mul"),
    case("i,j->ij", "2", "3", "2,3", None),
    case("ij,kj->i", "2,3", "4,3", "2", None),
    case("bqhd,bkhd->bhqk", "1,2,3,4", "1,5,3,4", "1,3,2,5", None, declines="only where a target prices it"),
    case("...ij,...jk->...ik", "1,2,3", "5,3,4", "5,2,4", None, declines="may be broadcast"),
    case("bhij,bhjk->bhik", '"n","h","s",3', '"n","h",3,"s"', '"n","h","s","s"', "MatMul"),
    case("abij,abjk->abik", "1,2,3,4", "1,2,4,5", "1,2,3,5", "MatMul"),
    alone("ii->i", "3,3", "3", None, declines="diagonal"),
    case("bijk,bk->bij", '2,"i",3,"k"', '2,"k"', '2,"i",3', None),
    case("bijk,bk->bij", '2,"i","j",4', "2,4", '2,"i","j"', None),
    Case("integers", '(int32[2,3] a, int32[3,4] b) => (int32[2,4] y) { y = Einsum<equation = "ij,jk->ik">(a, b) }'),
    Case(
        "a rank that is not known",
        "(float[2,3] a, bool[2] flags) => (float[3,2] y) { s = Compress(sizes, flags) r = Reshape(a, s)"
        ' t = Einsum<equation = "ij->ji">(r) y = Reshape(t, turned) }',
        arrays={"sizes": int64([2, 3]), "turned": int64([3, 2])},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case_", CASES, ids=str)
def test_case(case_: Case, place: str) -> None:
    check(SplitEinsum(), case_, place)


@pytest.mark.parametrize("case_", [held for held in CASES if "prices" in (held.declines or "")], ids=str)
def test_what_must_pay_computes_the_same_where_it_does(case_: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roofwright.passes.fusion.einsum.gain", lambda before, after, ctx: 1.0)
    before, after, result = run_pass(SplitEinsum(), case_.model())
    assert result.changed
    assert counts(after)["MatMul"] == 1
    same(before, after, exact=False)


def test_the_target_decides_about_transposes() -> None:
    held = next(held for held in CASES if held.name.startswith("bqhd"))
    _, after, result = run_pass(SplitEinsum(), held.model(), target=load_target("host"))
    assert result.changed is (counts(after)["Einsum"] == 0)
    assert result.changed or any("as a loss" in record.reason for record in result.records)


def test_names_that_only_the_result_has_do_not_change_the_price() -> None:
    text = '(float[1,2,3,4] a, float[1,5,3,4] b) => (float[{}] y) {{ y = Einsum<equation="bqhd,bkhd->bhqk">(a, b) }}'
    known, named = (
        run_pass(SplitEinsum(), text.format(sizes), target=load_target("host"))[2].records
        for sizes in ("1,3,2,5", '"a","b","c","d"')
    )
    assert [record.reason for record in named] == [record.reason for record in known]
    assert "as a loss" in known[0].reason


@pytest.mark.parametrize(
    ("text", "arrays"),
    [
        ('(double[2,4,5,7] a) => (double[2,4,5,5] y) { y = Einsum<equation="bhij,bhkj->bhik">(a, a) }', {}),
        ('(float[4,5] a) => (float[5,3,2] y) { y = Einsum<equation="jik,jl->lik">(w, a) }', {"w": random(4, 3, 2)}),
    ],
    ids=["float64", "a constant in front"],
)
def test_types_and_constants_have_their_price(text: str, arrays: dict[str, Array]) -> None:
    *_, result = run_pass(SplitEinsum(), build(text, arrays), target=load_target("kirin970"))
    assert not result.changed
    assert "as a loss" in result.records[0].reason


@pytest.mark.parametrize("text", ["ijk->i", "...ijk->i", "i->i", "ij,j->i", "ij->ik", "...i->ik"])
def test_equations_that_do_not_fit_are_declined(text: str) -> None:
    with pytest.raises(Decline):
        parse(text, [2])
