"""Weights that are not read until somebody asks for their values."""

import weakref
from math import prod
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx_graphsurgeon.ir.tensor import LazyValues, SparseValues

from roofwright.graph.dtypes import is_packed, numpy_dtype, stored_bytes
from roofwright.graph.errors import UnsafeModelError
from roofwright.graph.external import Store, is_external, span_of


def text_of(value: bytes) -> str | bytes:
    """A string of a model as text, or as it is where it is not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def values_of(constant: gs.Constant) -> NDArray[Any]:
    """The array of a constant, which itself stays lazy."""
    stored = constant._values
    return np.asarray(stored.load() if isinstance(stored, LazyValues) else stored)


class _Remembers:
    """Knows again the array that it gave out, without keeping it alive."""

    _given: weakref.ReferenceType[NDArray[Any]] | None = None

    def give(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array, read-only from here on."""
        array.flags.writeable = False
        self._given = weakref.ref(array)
        return array

    def gave(self, array: object) -> bool:
        """Whether `array` is the one given out: read, but not changed."""
        return self._given is not None and self._given() is array


class TensorValues(_Remembers, LazyValues):
    """The values of a TensorProto, inline or in a file beside the model; every load gives the same read-only array."""

    def __init__(self, tensor: onnx.TensorProto, store: Store | None = None) -> None:
        """Nothing is read here; `store` is where external values lie."""
        self.tensor = tensor
        self.store = store
        self.shape = tuple(tensor.dims)
        self.dtype = numpy_dtype(tensor.data_type)
        self.nbytes = stored_bytes(tensor.data_type, prod(self.shape))

    def load(self) -> NDArray[Any]:
        """The values as a read-only array (mapped from the file where they are external)."""
        held = self._given() if self._given is not None else None
        if held is not None:
            return held
        if not is_external(self.tensor):
            return self.give(self._inline())
        return self.give(self._from_bytes(self.raw()))

    def _inline(self) -> NDArray[Any]:
        if self.tensor.data_type != onnx.TensorProto.STRING:
            return np.asarray(onnx.numpy_helper.to_array(self.tensor)).view()
        array = np.empty(len(self.tensor.string_data), object)
        array[:] = [text_of(item) for item in self.tensor.string_data]
        return array.reshape(self.shape)

    def raw(self) -> NDArray[np.uint8]:
        """The bytes of an external tensor."""
        if self.store is None:
            raise UnsafeModelError(f"tensor {self.tensor.name}: external data, but the model's folder is not known")
        return self.store.read(span_of(self.tensor, self.nbytes))

    def _from_bytes(self, raw: NDArray[np.uint8]) -> NDArray[Any]:
        if not is_packed(self.tensor.data_type):
            typed: NDArray[Any] = raw.view(self.dtype).reshape(self.shape)
            return typed
        inline = onnx.TensorProto(data_type=self.tensor.data_type, dims=self.shape, raw_data=raw.tobytes())
        return np.asarray(onnx.numpy_helper.to_array(inline))


class SparseTensorValues(_Remembers, SparseValues):
    """The values of a SparseTensorProto; dense only once asked for."""

    def __init__(self, tensor: onnx.SparseTensorProto, store: Store | None = None) -> None:
        """Nothing is read here."""
        self.tensor = tensor
        self.store = store
        self.shape = tuple(tensor.dims)
        self.dtype = numpy_dtype(tensor.values.data_type)
        self.nbytes = stored_bytes(tensor.values.data_type, prod(self.shape))

    def load(self) -> NDArray[Any]:
        """The dense array, read-only."""
        held = self._given() if self._given is not None else None
        if held is not None:
            return held
        values = TensorValues(self.tensor.values, self.store).load()
        indices = TensorValues(self.tensor.indices, self.store).load()
        dense = np.zeros(self.shape, self.dtype)
        if indices.ndim == 1:
            dense.reshape(-1)[indices] = values
        else:
            dense[tuple(indices.T)] = values
        return self.give(dense)


def constant(name: str, tensor: onnx.TensorProto | onnx.SparseTensorProto, store: Store | None) -> gs.Constant:
    """A lazy constant that remembers the proto it came from."""
    lazy: LazyValues
    if isinstance(tensor, onnx.SparseTensorProto):
        lazy = SparseTensorValues(tensor, store)
    else:
        lazy = TensorValues(tensor, store)
    made = gs.Constant(name, lazy)
    made.__dict__["source"] = lazy
    return made


def source(tensor: gs.Constant) -> TensorValues | SparseTensorValues | None:
    """Where a constant's values came from, for doc string and metadata; None for one that a pass made."""
    held: TensorValues | SparseTensorValues | None = tensor.__dict__.get("source")
    return held


def untouched(tensor: gs.Constant) -> TensorValues | SparseTensorValues | None:
    """The source of a constant whose values are still the source's; None once they were replaced."""
    held = source(tensor)
    if held is not None and (tensor._values is held or held.gave(tensor._values)):
        return held
    if isinstance(tensor._values, (TensorValues, SparseTensorValues)):
        return tensor._values
    return None


def adopt(graph: gs.Graph, store: Store | None) -> None:
    """Make graphsurgeon's own lazy values ours, so that they are read with our checks; bodies are not included."""
    attributes = [v for node in graph.nodes for v in node.attrs.values() if isinstance(v, gs.Constant)]
    inputs = [t for node in graph.nodes for t in node.inputs if isinstance(t, gs.Constant)]
    outputs = [t for t in graph.outputs if isinstance(t, gs.Constant)]
    for tensor in (*attributes, *inputs, *outputs):
        stored = tensor._values
        if isinstance(stored, LazyValues) and not isinstance(stored, _Remembers):
            tensor._values = constant(tensor.name, stored.tensor, store)._values
