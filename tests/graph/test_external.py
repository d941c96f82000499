import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from roofwright.graph import UnsafeModelError, read
from roofwright.graph.external import Span, Store
from tests.graph.models import branches, external, weight


def refused(path: Path) -> str:
    with pytest.raises(UnsafeModelError) as caught:
        read(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


LOCATIONS = {
    "parent": "../s",
    "hidden parent": "a/../../s",
    "absolute": "/etc/passwd",
    "drive": "C:\\x",
    "share": "\\\\srv\\x",
    "empty": "",
    "dot": ".",
    "long": "x" * 4096,
    "nul": "a\0b",
    "look-alike dots": "\u2025/s",
    "look-alike slash": "a\uff0fb",
    "missing": "nowhere.bin",
}


@pytest.mark.parametrize("name", LOCATIONS)
def test_locations_outside_the_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(bytes(400))
    folder = tmp_path / "inner"
    folder.mkdir()
    refused(external(folder, {"location": LOCATIONS[name]}))


@pytest.mark.parametrize("kind", ["link", "link to folder", "hard link", "pipe", "folder"])
def test_what_is_not_a_plain_file(kind: str, tmp_path: Path) -> None:
    path = external(tmp_path, {"location": "d/t"})
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "t").write_bytes(bytes(400))
    if kind == "link to folder":
        os.symlink(secret, tmp_path / "d")
    else:
        (tmp_path / "d").mkdir()
    target = tmp_path / "d" / "t"
    if kind == "link":
        os.symlink(secret / "t", target)
    elif kind == "hard link":
        os.link(secret / "t", target)
    elif kind == "pipe":
        os.mkfifo(target)
    elif kind == "folder":
        target.mkdir()
    refused(path)


SPANS = {
    "negative offset": {"offset": "-4"},
    "behind the end": {"offset": "4"},
    "huge": {"offset": str(2**63)},
    "no number": {"offset": "0x10"},
    "short length": {"length": "396"},
    "long length": {"length": "404"},
    "unknown key": {"__class__": "x"},
    "base path": {"basepath": "/"},
}


@pytest.mark.parametrize("name", SPANS)
def test_spans_that_do_not_fit(name: str, tmp_path: Path) -> None:
    refused(external(tmp_path, {"location": "w.bin"} | SPANS[name]))


def test_overlapping_tensors(tmp_path: Path) -> None:
    path = external(tmp_path, size=4000)
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer.append(proto.graph.initializer[0])
    other = proto.graph.initializer[1]
    other.name = "v"
    path.write_bytes(proto.SerializeToString())
    assert read(path).nodes[0].op == "Add"  # the same bytes: a tied weight
    other.external_data[1].value = "200"
    path.write_bytes(proto.SerializeToString())
    assert "overlap" in refused(path)


def _outside() -> onnx.TensorProto:
    tensor = onnx.TensorProto(name="t", data_type=1, dims=[100], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../s")
    return tensor


def test_hidden_tensors_are_checked_too(tmp_path: Path) -> None:
    constant = onnx.helper.make_node("Constant", [], ["k"], value=_outside())
    places = []
    for place in ("attribute", "body", "function", "sparse"):
        proto = branches()
        if place == "attribute":
            proto.graph.node.insert(0, constant)
        elif place == "body":
            proto.graph.node[1].attribute[0].g.initializer.append(_outside())
        elif place == "function":
            opsets = [onnx.helper.make_opsetid("", 17)]
            proto.functions.append(onnx.helper.make_function("f", "F", [], ["k"], [constant], opsets))
        else:
            proto.graph.sparse_initializer.add(values=_outside(), indices=_outside(), dims=[100])
        path = tmp_path / "model.onnx"
        path.write_bytes(proto.SerializeToString())
        places.append("external location" in refused(path))
    assert places == [True] * 4


def test_bytes_need_a_folder(tmp_path: Path) -> None:
    path = external(tmp_path)
    with pytest.raises(UnsafeModelError, match="folder is not known"):
        read(path.read_bytes())
    values = weight(read(path.read_bytes(), folder=tmp_path)).values
    np.testing.assert_array_equal(values, np.arange(100))


def test_a_file_that_changed_is_not_read(tmp_path: Path) -> None:
    graph = read(external(tmp_path))
    (tmp_path / "w.bin").unlink()
    (tmp_path / "w.bin").write_bytes(bytes(4000))
    with pytest.raises(UnsafeModelError, match="changed"):
        _ = weight(graph).values


def test_weights_are_mapped_when_asked_for_and_not_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[object] = []
    original = Store.read

    def counted(self: Store, span: Span) -> object:
        reads.append(span)
        return original(self, span)

    monkeypatch.setattr(Store, "read", counted)
    graph = read(external(tmp_path, {"location": "w.bin"}, size=4000, count=1000))
    assert not reads  # up to 1 KiB is read at once: it may be a shape
    assert float(weight(graph).values[7]) == 7.0
    assert len(reads) == 1
