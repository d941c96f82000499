import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from roofwright.graph import UnsupportedError, read, run, run_model, session
from tests.builders import model
from tests.graph.models import external

PLUS = "agraph (float[3] x) => (float[3] y, float[3] z) { y = Add(x, w)  z = Neg(y) }"


def test_graphs_and_protos_and_bytes_run() -> None:
    proto = model(PLUS, w=np.ones(3, np.float32))
    feeds = {"x": np.zeros(3, np.float32)}
    for source in (proto, proto.SerializeToString(), read(proto)):
        results = run_model(source, feeds)
        np.testing.assert_array_equal(results["y"], [1, 1, 1])
        np.testing.assert_array_equal(results["z"], [-1, -1, -1])
    assert list(run(session(proto, optimized=True), feeds, ["z"])) == ["z"]


def test_external_weights_run(tmp_path: Path) -> None:
    results = run(read(external(tmp_path)), {"x": np.zeros(100, np.float32)})
    np.testing.assert_array_equal(results["y"], np.arange(100))


def test_what_onnxruntime_refuses_is_said_in_one_line() -> None:
    with pytest.raises(UnsupportedError, match="onnxruntime does not load the model") as caught:
        session(b"nonsense")
    assert str(caught.value).isprintable()


def test_the_room_is_lazy() -> None:
    code = "import sys, roofwright.graph; print('onnx' in sys.modules); roofwright.graph.read; roofwright.graph.session"
    code += "; print('onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_facade_names_functions_not_modules() -> None:
    import roofwright.graph as room

    assert list(room._HOMES) == room.__all__
    for name in room.__all__:
        assert not hasattr(getattr(room, name), "__path__")
        assert type(getattr(room, name)).__name__ != "module", name
