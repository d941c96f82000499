"""What the pass does beyond its rewrites, each of which has a file of its own: test_gates, test_norms ..."""

import dataclasses

import pytest

from roofwright.passes.fusion import FuseComposites
from roofwright.passes.fusion.composite import STANDARDS
from roofwright.targets import load_target
from tests.passes.fusion.written_out import X, case
from tests.passes.harness import run_pass

GELU = case(
    "gelu", f"{X} {{ d = Div(x, root) f = Erf(d) o = Add(f, c1) t = Mul(x, o) y = Mul(t, half) }}", "Gelu"
).model()


@pytest.mark.parametrize("has_it", [True, False])
def test_the_stack_says_which_operators_are_written(has_it: bool) -> None:
    target = load_target("host")
    stack = dataclasses.replace(target.stack, composites=("Gelu",) if has_it else ())
    result = run_pass(FuseComposites(), GELU, target=dataclasses.replace(target, stack=stack))[2]
    assert [record.reason for record in result.records if not record.applied] == (
        [] if has_it else ["stack onnxruntime-cpu does not list Gelu among its kernels; the nodes stay as they are"]
    )
    assert result.changed is has_it


def test_what_is_rounding_stays_where_only_exact_is_allowed() -> None:
    assert not run_pass(FuseComposites(), GELU, numerics="exact")[2].changed


def test_every_composite_is_a_standard_operator() -> None:
    listed = {name for target in ("host", "kirin970", "tpuv2", "v100") for name in load_target(target).stack.composites}
    assert listed <= set(STANDARDS)
