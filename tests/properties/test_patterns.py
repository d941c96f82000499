"""Random models around every pass's patterns: valid, the same interface and numbers, settled, never costlier."""

import onnx
import pytest
from hypothesis import given, settings

from tests.properties.holds import holds
from tests.properties.patterns import THEMES, models

FEW, MANY = 8, 400


@pytest.mark.filterwarnings("ignore")  # of numpy, at the ends of its ranges
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_random_models(theme: str, examples: int) -> None:
    @settings(max_examples=examples)
    @given(model=models(theme))
    def check(model: onnx.ModelProto) -> None:
        holds(model)

    check()
