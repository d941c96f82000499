import pytest

from roofwright.passes import cleanup, fusion, layout, units
from roofwright.passes.base import Pass
from roofwright.targets import load_target
from tests.passes.harness import run_pass, same
from tests.passes.models import NAMES, model_for

PASSES: list[Pass] = [getattr(room, name)() for room in (cleanup, fusion, layout, units) for name in room.__all__]
MACHINE = load_target("v100")  # for the passes that price what they do


def test_every_pass_has_a_model() -> None:
    assert sorted(NAMES) == sorted(pass_.name for pass_ in PASSES)


@pytest.mark.parametrize("pass_", PASSES, ids=lambda pass_: pass_.name)
def test_the_pass_fires_on_it_and_keeps_its_values(pass_: Pass) -> None:
    before, after, result = run_pass(pass_, model_for(pass_.name), target=MACHINE)
    assert result.changed
    same(before, after, exact=pass_.numerics == "exact")
    assert {record.rewrite for record in result.records if record.applied}


@pytest.mark.parametrize("name", NAMES)
def test_all_passes_one_after_another(name: str) -> None:
    before = model = model_for(name)
    for pass_ in (*PASSES, *PASSES):
        _, model, _ = run_pass(pass_, model, target=MACHINE)
    same(before, model, exact=False)


@pytest.mark.parametrize("pass_", PASSES, ids=lambda pass_: pass_.name)
def test_numerics_are_the_most_of_what_the_rewrites_say(pass_: Pass) -> None:
    said = {rewrite.numerics for rewrite in getattr(pass_, "rewrites", ())} or {pass_.numerics}
    assert pass_.numerics == ("rounding" if "rounding" in said else "exact")
    assert " --> " in (type(pass_).__doc__ or "").splitlines()[0]
