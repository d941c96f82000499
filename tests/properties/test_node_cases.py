"""The onnx package's own node tests through the whole pipeline: valid, same interface, same results."""

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from roofwright.graph import InvalidModelError, interface, read, run, session, to_proto
from roofwright.passes import Options, optimize_graph
from roofwright.targets import load_target

SHARE = 6  # one case in so many is tried every time
_TOLERANCE = {"float16": 2e-2, "bfloat16": 2e-2, "float32": 1e-4, "float64": 1e-9}


@cache
def _cases() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the generators: overflows that the cases are about
        from onnx.backend.test.case.node import collect_testcases

        return {case.name: case for case in collect_testcases(None)}


def _names() -> Iterator[Any]:
    for at, name in enumerate(_cases()):
        yield name if at % SHARE == 0 else pytest.param(name, marks=pytest.mark.slow)


def _arrays(value: Any) -> Iterator[NDArray[Any]]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _arrays(item)
    elif value is not None:
        yield np.asarray(value)


def _same(found: NDArray[Any], expected: NDArray[Any]) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    tolerance = _TOLERANCE.get(expected.dtype.name)
    if tolerance is None:
        np.testing.assert_array_equal(found, expected)
        return
    floor = tolerance * float(np.abs(expected[np.isfinite(expected)].astype(np.float64)).max(initial=1e-6))
    np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), rtol=tolerance, atol=floor)


def _is_sound(model: onnx.ModelProto) -> bool:
    """Whether the case itself passes the full check; one of them has a Constant without a value."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.shape_inference.InferenceError:
        return False
    return True


def _reference(model: onnx.ModelProto, inputs: list[Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Feed and results of the case as it is; None where onnxruntime does not run it."""
    try:
        loaded = session(model)
        feed = dict(zip((i.name for i in loaded.get_inputs()), inputs, strict=False))
        return feed, dict(run(loaded, feed))
    except Exception:  # onnxruntime has no kernel for the operator, its type or its version
        return None


@pytest.mark.filterwarnings("ignore")  # of numpy, in operators that are tried at the ends of their ranges
@pytest.mark.parametrize("name", list(_names()))
def test_a_node_case_keeps_its_results(name: str) -> None:
    case = _cases()[name]
    try:
        source = read(case.model)
    except InvalidModelError:
        with pytest.raises(onnx.checker.ValidationError):
            onnx.checker.check_model(case.model, full_check=True)
        return
    made, report = optimize_graph(source, load_target("tpuv2"), Options(check=False))
    proto = to_proto(made)
    onnx.checker.check_model(proto, full_check=_is_sound(case.model))
    assert interface(made) == interface(source)
    assert [p.name for p in report.passes if p.rolled_back] == []
    reference = _reference(case.model, case.data_sets[0][0])
    if reference is None:
        return
    feed, expected = reference
    found = run(session(proto), feed)
    assert list(found) == list(expected)
    for output, value in expected.items():
        for mine, theirs in zip(_arrays(found[output]), _arrays(value), strict=True):
            _same(mine, theirs)
