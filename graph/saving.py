"""Writing a model: whole or not at all, weights streamed, nothing outside the output's folder.

The model is written beside its place, synced and renamed over it. External data goes to a file name that no model
refers to yet, so that a crash at any point leaves an old output with the data it belongs to.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from roofwright.graph.dtypes import is_packed, onnx_dtype, stored_bytes
from roofwright.graph.errors import WriteError, printable
from roofwright.graph.exporter import array_of, copy_inline, export_model, fill_header
from roofwright.graph.external import Store, is_external
from roofwright.graph.sidecar import model_sidecar, sidecar
from roofwright.graph.skeleton import proto_graphs
from roofwright.graph.streaming import Pieces, encoded, field, halves, model_pieces
from roofwright.graph.tensors import detached_tensors, model_tensors
from roofwright.graph.values import SparseTensorValues, TensorValues, untouched
from roofwright.graph.walk import graphs_of, tensors_of

AUTO_EXTERNAL_BYTES = 1_500_000_000  # a proto ends at 2 GiB; leave room for the rest
_SMALLEST_EXTERNAL_BYTES = 1024
_ALIGNMENT_BYTES = 4096  # a page, so that runtimes can map the file
_CHUNK_BYTES = 1 << 26
_RAW_DATA = 9  # its number in TensorProto


def save(graph: gs.Graph, path: str | os.PathLike[str], *, force: bool = False, external: bool | None = None) -> None:
    """Write the model to `path`, atomically.

    Args:
        graph: the main graph.
        path: the output; an existing file is replaced, a link is replaced and not followed.
        force: allow `path` to be the very file that the model was read from.
        external: weights go to one file beside the model; None: where they exceed 1.5 GB or came from such files.

    Raises:
        WriteError: nothing was changed.
    """
    target = Path(os.fspath(path))
    check_place(target, model_sidecar(graph).path, force=force)
    beside = wants_external(graph) if external is None else external
    try:
        if beside:
            _save_with_data(graph, target)
        else:
            _replace(target, _pieces(graph))
    except OSError as error:
        raise WriteError(f"{printable(target)}: cannot be written: {error.strerror or error}") from None


def check_place(target: Path, source: Path | None, *, force: bool = False) -> None:
    """Raise WriteError where a model that was read from `source` must not, or cannot, be saved at `target`."""
    name = printable(target)
    if not target.parent.is_dir():
        raise WriteError(f"{name}: its folder does not exist")
    if not os.path.lexists(target):
        return
    found = target.lstat().st_mode
    if not (stat.S_ISREG(found) or stat.S_ISLNK(found)):
        raise WriteError(f"{name}: exists and is not a file")
    with suppress(OSError):
        if source is not None and not force and os.path.samefile(target, source):
            raise WriteError(f"{name}: is the input itself; say so (--force) to replace it")


def wants_external(graph: gs.Graph) -> bool:
    """Weights over the limit, or a model whose weights were external."""
    total, seen = 0, set()
    for body in graphs_of(graph):
        for tensor in (*tensors_of(body), *sidecar(body).constants.values()):
            if not isinstance(tensor, gs.Constant) or id(tensor) in seen:
                continue
            seen.add(id(tensor))
            held = untouched(tensor)
            if isinstance(held, TensorValues) and is_external(held.tensor):
                return True
            total += stored_bytes(onnx_dtype(tensor.dtype), prod(tensor.shape))
    return total > AUTO_EXTERNAL_BYTES


# ---- values
def _raw(constant: gs.Constant) -> tuple[int, NDArray[np.uint8] | bytes]:
    """Element type and stored bytes of a constant."""
    held = untouched(constant)
    if isinstance(held, TensorValues):
        if is_external(held.tensor):
            return held.tensor.data_type, held.raw()
        if held.tensor.HasField("raw_data"):
            return held.tensor.data_type, held.tensor.raw_data
    array = array_of(constant)
    number = onnx_dtype(array.dtype)
    if is_packed(number):
        return number, onnx.numpy_helper.from_array(array).raw_data
    return number, np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _embed(constant: gs.Constant, out: onnx.TensorProto) -> None:
    """As `copy_inline`, but external values are loaded."""
    held = untouched(constant)
    if not isinstance(held, TensorValues) or not is_external(held.tensor):
        copy_inline(constant, out)
        return
    fill_header(constant, out)
    out.data_type, raw = _raw(constant)
    out.dims.extend(constant.shape)
    out.raw_data = bytes(raw)


def _embed_rest(model: onnx.ModelProto, store: Store | None) -> None:
    """Load the external tensors that are not gs.Constants: in functions, training graphs and sparse tensors."""
    sparse = [t for graph in proto_graphs(model.graph) for s in graph.sparse_initializer for t in (s.values, s.indices)]
    for tensor in (*detached_tensors(model), *sparse):
        if is_external(tensor):
            raw = TensorValues(tensor, store).raw().tobytes()
            del tensor.external_data[:]
            tensor.ClearField("data_location")
            tensor.raw_data = raw


def embedded(graph: gs.Graph) -> onnx.ModelProto:
    """The model as a proto that holds all its weights."""
    model = export_model(graph, _embed)
    _embed_rest(model, model_sidecar(graph).store)
    return model


def _encoded(constant: gs.Constant) -> Pieces:
    """As `_embed`, in pieces: values are not copied."""
    held = untouched(constant)
    inline = held.tensor if isinstance(held, TensorValues) and not is_external(held.tensor) else None
    if inline is not None and inline.name == constant.name:
        return [encoded(inline)]
    tensor, number = onnx.TensorProto(), onnx_dtype(constant.dtype)
    is_small = stored_bytes(number, prod(constant.shape)) < _SMALLEST_EXTERNAL_BYTES
    if inline is not None or is_small or number == onnx.TensorProto.STRING:
        _embed(constant, tensor)
        return [encoded(tensor)]
    fill_header(constant, tensor)
    tensor.data_type, raw = _raw(constant)
    tensor.dims.extend(constant.shape)
    before, after = halves(tensor, _RAW_DATA)
    return [before, *field(_RAW_DATA, [raw]), after]


def _pieces(graph: gs.Graph) -> Pieces:
    """`embedded` as bytes."""
    store = model_sidecar(graph).store
    return model_pieces(graph, _embed, _encoded, lambda model: _embed_rest(model, store))


# ---- files
class _DataFile:
    """Puts initializers of some size into one file and leaves references in the model."""

    def __init__(self, file: IO[bytes], location: str) -> None:
        self.file, self.location = file, location

    def __call__(self, constant: gs.Constant, out: onnx.TensorProto) -> None:
        number = onnx_dtype(constant.dtype)
        size = stored_bytes(number, prod(constant.shape))
        held = untouched(constant)
        if size < _SMALLEST_EXTERNAL_BYTES or number == onnx.TensorProto.STRING or isinstance(held, SparseTensorValues):
            _embed(constant, out)
            return
        fill_header(constant, out)
        out.data_type, raw = _raw(constant)
        out.dims.extend(constant.shape)
        out.data_location = onnx.TensorProto.EXTERNAL
        offset = self._append(raw)
        for key, value in (("location", self.location), ("offset", offset), ("length", len(raw))):
            out.external_data.add(key=key, value=str(value))

    def _append(self, raw: NDArray[np.uint8] | bytes) -> int:
        self.file.write(bytes(-self.file.tell() % _ALIGNMENT_BYTES))
        offset = self.file.tell()
        view = memoryview(raw if isinstance(raw, bytes) else raw.data)
        for start in range(0, len(view), _CHUNK_BYTES):
            self.file.write(view[start : start + _CHUNK_BYTES])
        return offset


def _save_with_data(graph: gs.Graph, target: Path) -> None:
    stale = _stale_data(target)
    with _new_file(f"{target.name}{{}}.data", target.parent, first="") as (file, location):
        model = export_model(graph, _DataFile(file, location), _embed)
        _embed_rest(model, model_sidecar(graph).store)
        _sync(file)
        _replace(target, [encoded(model)])
    for path in stale:
        with suppress(OSError):
            path.unlink()


def _stale_data(target: Path) -> list[Path]:
    """The data files of the model that is about to be replaced: only those named as this module names them."""
    pattern = re.compile(re.escape(target.name) + r"(\.\d+)?\.data")
    ours = {path.name: path for path in target.parent.iterdir() if pattern.fullmatch(path.name)}
    if not ours or target.is_symlink() or not target.is_file():
        return []
    try:
        old = onnx.ModelProto.FromString(target.read_bytes())
        named = {e.value for t in model_tensors(old) for e in t.external_data if e.key == "location"}
    except (DecodeError, ValueError, OSError):
        return []
    return [path for name, path in ours.items() if name in named]


@contextmanager
def _new_file(pattern: str, folder: Path, first: str) -> Iterator[tuple[Any, str]]:
    """A file that did not exist, open for writing; it is removed again if the block fails."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    for number in count():
        name = pattern.format(f".{number}" if number else first)
        try:
            handle = os.open(folder / name, flags, 0o666)
        except FileExistsError:
            continue
        break
    try:
        with os.fdopen(handle, "wb") as file:
            yield file, name
    except BaseException:
        with suppress(OSError):
            (folder / name).unlink()
        raise


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _replace(target: Path, pieces: Pieces) -> None:
    """Put a file made of `pieces` in the place of `target` in one step."""
    with _new_file(f".{target.name}.{os.getpid()}{{}}.tmp", target.parent, first="") as (file, name):
        file.writelines(pieces)
        _sync(file)
        os.replace(target.parent / name, target)
    with suppress(OSError):  # the rename itself is made durable where the system can
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
