"""What a Slice takes, against onnxruntime."""

from itertools import product

import numpy as np
import pytest

from roofwright.graph import run, session, slice_of
from tests.builders import model

FAR = 2**63 - 1
PLACES = (-FAR - 1, -7, -4, -3, -2, -1, 0, 1, 2, 3, 5, FAR)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_every_kind_of_bounds(size: int) -> None:
    text = """g (int64[n] x, int64[1] start, int64[1] end, int64[1] axis, int64[1] step) => (int64[k] y)
        { y = Slice(x, start, end, axis, step) }"""
    loaded, x = session(model(text)), np.arange(size)
    for start, end, step in product(PLACES, PLACES, (-2, -1, 1, 2)):
        if end == FAR and step < 0:
            continue  # onnxruntime has a meaning of its own for it
        feed = {"start": start, "end": end, "axis": 0, "step": step}
        expected = run(loaded, {"x": x} | {name: np.array([value], np.int64) for name, value in feed.items()})["y"]
        assert x[slice_of(size, start, end, step)].tolist() == expected.tolist(), (start, end, step)
