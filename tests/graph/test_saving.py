import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from roofwright.graph import WriteError, read, save, saving, streaming, to_proto
from tests.builders import model
from tests.graph.diff import differences
from tests.graph.models import LIGHT, branches, external, full

BIG = "agraph (float[1000] x) => (float[1000] y) { y = Add(x, w) }"


def test_a_saved_model_is_the_model(tmp_path: Path) -> None:
    proto = full()
    save(read(proto), tmp_path / "out.onnx")
    assert differences(proto, onnx.load(tmp_path / "out.onnx")) == []
    assert os.listdir(tmp_path) == ["out.onnx"]


def changed(proto: onnx.ModelProto) -> gs.Graph:
    """Read, with weights that a pass would leave: new values, another name, another type, none."""
    graph = read(proto)
    for node in graph.nodes:
        for tensor in node.inputs:
            if isinstance(tensor, gs.Constant) and tensor.name == "w":
                tensor.values = np.arange(1000, dtype=np.float32)[::-1]
            elif isinstance(tensor, gs.Constant):
                tensor.name += "_new"
    return graph


@pytest.mark.parametrize("made", [full, lambda: onnx.load(LIGHT[0]), branches], ids=["full", "light", "branches"])
def test_a_file_in_pieces_is_the_message(made: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    for graph in (read(made()), changed(made())):
        save(graph, tmp_path / "out.onnx")
        assert (tmp_path / "out.onnx").read_bytes() == to_proto(graph, embed=True).SerializeToString()


def test_new_values_keep_what_their_tensor_says(tmp_path: Path) -> None:
    proto = model(BIG, w=np.ones(1000, np.float32), v=np.ones(400, np.float32))
    weight = proto.graph.initializer[0]
    weight.doc_string = "behind the data"
    weight.metadata_props.add(key="k", value="v")
    graph = changed(proto)
    save(graph, tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == to_proto(graph, embed=True).SerializeToString()
    (found,) = (t for t in onnx.load(tmp_path / "out.onnx").graph.initializer if t.name == "w")
    assert found.doc_string == "behind the data"
    assert onnx.numpy_helper.to_array(found)[0] == 999


def test_a_file_has_at_most_2_gib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_LARGEST_BYTES", 3000)
    with pytest.raises(WriteError, match="larger than 2 GiB"):
        save(read(model(BIG, w=np.ones(1000, np.float32))), tmp_path / "out.onnx")
    assert os.listdir(tmp_path) == []


def test_the_input_is_only_replaced_on_request(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(full().SerializeToString())
    before = path.read_bytes()
    graph = read(path)
    os.symlink(path, tmp_path / "link.onnx")
    for target in (path, tmp_path / "link.onnx", tmp_path / "." / "m.onnx"):
        with pytest.raises(WriteError, match="input itself"):
            save(graph, target)
    assert path.read_bytes() == before
    graph.nodes[0].name = "other"
    save(graph, path, force=True)
    assert onnx.load(path).graph.node[0].name == "other"


def test_links_are_replaced_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.symlink(victim, tmp_path / "out.onnx")
    save(read(full()), tmp_path / "out.onnx")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "out.onnx").is_symlink()


def test_what_cannot_be_written_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.onnx"
    out.write_text("old")
    (tmp_path / "folder").mkdir()
    graph = read(full())
    for target in (tmp_path / "nowhere" / "m.onnx", tmp_path / "folder"):
        with pytest.raises(WriteError):
            save(graph, target)

    def full_disk(file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "_sync", full_disk)
    for beside in (False, True):
        with pytest.raises(WriteError, match="No space left"):
            save(graph, out, external=beside)
    assert out.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["folder", "out.onnx"]


def test_external_models_stay_external_and_are_streamed(tmp_path: Path) -> None:
    path = external(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    big = model(BIG, w=(1000,))
    big.graph.initializer.append(proto.graph.initializer[0])
    big.graph.initializer[1].name = "tied"
    path.write_bytes(big.SerializeToString())
    out = tmp_path / "sub"
    out.mkdir()
    save(read(path), out / "o.onnx")
    assert sorted(os.listdir(out)) == ["o.onnx", "o.onnx.data"]
    written = onnx.load(out / "o.onnx")
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in written.graph.initializer}
    np.testing.assert_array_equal(arrays["w"], onnx.numpy_helper.to_array(big.graph.initializer[0]))
    np.testing.assert_array_equal(arrays["tied"], np.arange(100))
    onnx.checker.check_model(os.fspath(out / "o.onnx"))


def test_large_models_become_external(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "AUTO_EXTERNAL_BYTES", 1000)
    save(read(model(BIG, w=(1000,))), tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx.data").stat().st_size == 4000


def test_an_old_output_keeps_its_data_until_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "m.onnx"
    first, second = (read(model(BIG, seed=seed, w=(1000,))) for seed in (0, 1))
    save(first, out, external=True)
    before = onnx.load(out).SerializeToString()
    replace = os.replace

    def crash(*_: object) -> None:
        raise OSError(5, "crash")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(WriteError):
        save(second, out, external=True)
    assert onnx.load(out).SerializeToString() == before
    monkeypatch.setattr(os, "replace", replace)
    save(second, out, external=True)
    assert differences(to_proto(second), _loaded(out)) == []
    assert len(os.listdir(tmp_path)) == 2


def _loaded(path: Path) -> onnx.ModelProto:
    proto = onnx.load(path)
    proto.graph.initializer[0].ClearField("data_location")
    return proto


def test_a_data_file_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "m.onnx.data").write_text("precious")
    save(read(model(BIG, w=(1000,))), tmp_path / "m.onnx", external=True)
    assert (tmp_path / "m.onnx.data").read_text() == "precious"
    assert onnx.load(tmp_path / "m.onnx").graph.initializer[0].raw_data
