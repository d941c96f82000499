"""What comes out for a whole model on a machine: the graph and the schedule, to be read."""

from collections.abc import Callable

import pytest

import roofwright
from tests.golden.models import MODELS
from tests.golden.summary import summary


@pytest.mark.parametrize("target", ["tpuv1", "tpuv2", "v100", "kirin970"])
@pytest.mark.parametrize("name", MODELS)
def test_model(name: str, target: str, golden: Callable[[str], None]) -> None:
    made, report = roofwright.optimize(MODELS[name](), target)
    assert report.check.status == "passed"
    graph = roofwright.canonical_text(made, weights=False)
    kept = [line for line in graph.splitlines() if not line.startswith("schedule = ")]
    golden("\n".join(kept) + "\n\n" + summary(report.schedule))
