"""What depends on what in a small model, found by changing one element of its input at a time."""

from functools import cached_property

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.builders import Array, feeds, session


class Changes:
    """Which elements of every tensor change with each element of the input `x`."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        """Prepare a run that returns all tensors."""
        whole = onnx.ModelProto()
        whole.CopyFrom(proto)
        known = {value.name for value in whole.graph.output}
        self.names = [name for node in whole.graph.node for name in node.output]
        for name in self.names:
            if name not in known:
                whole.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        self.proto, self.run = proto, session(whole)

    def all(self, x: Array) -> dict[str, Array]:
        """All tensors for an input."""
        return dict(zip(self.names, self.run.run(self.names, {"x": x}), strict=True)) | {"x": x}

    @cached_property
    def changed(self) -> dict[str, NDArray[np.bool_]]:
        """Tensor -> whether element j of it changes with element i of the input; shape (input size, size)."""
        x = feeds(self.proto)["x"]
        base, rows = self.all(x), []
        for at in range(x.size):
            other = x.copy()
            other.flat[at] += 1.0
            found = self.all(other)
            rows.append({name: (found[name] != base[name]).ravel() for name in found})
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}
