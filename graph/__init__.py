"""The IR: onnx-graphsurgeon and what it lacks."""

from typing import TYPE_CHECKING

from roofwright._lazy import attach

if TYPE_CHECKING:
    from roofwright.graph.cloning import clone
    from roofwright.graph.dtypes import dtype_name, dtype_number, name_of, numpy_dtype, onnx_dtype
    from roofwright.graph.edit import Edit
    from roofwright.graph.errors import (
        InvalidModelError,
        InvariantError,
        ResourceLimitError,
        RoofwrightError,
        UnsafeModelError,
        UnsupportedError,
        UsageError,
        VerificationError,
        WriteError,
        printable,
    )
    from roofwright.graph.extracting import extract
    from roofwright.graph.onnx_io import overridable, read, to_proto, write
    from roofwright.graph.order import in_order, sort_nodes
    from roofwright.graph.partial import evaluate, slice_of
    from roofwright.graph.pinning import pin_shapes
    from roofwright.graph.runtime import run, run_model, session
    from roofwright.graph.saving import check_place, save
    from roofwright.graph.shapes import TensorInfo, annotate, assumed_dims, infer
    from roofwright.graph.sidecar import (
        drop_unused_initializers,
        functions,
        graph_metadata,
        model_metadata,
        model_sidecar,
        node_metadata,
        notes,
    )
    from roofwright.graph.text import canonical_text, structural_hash
    from roofwright.graph.verifying import Interface, Port, interface, verify
    from roofwright.graph.view import STANDARD_DOMAINS, Index, View, key
    from roofwright.graph.walk import bodies, graphs_of

_HOMES = {
    "clone": "cloning",
    "dtype_name": "dtypes",
    "dtype_number": "dtypes",
    "name_of": "dtypes",
    "numpy_dtype": "dtypes",
    "onnx_dtype": "dtypes",
    "Edit": "edit",
    "InvalidModelError": "errors",
    "InvariantError": "errors",
    "ResourceLimitError": "errors",
    "RoofwrightError": "errors",
    "UnsafeModelError": "errors",
    "UnsupportedError": "errors",
    "UsageError": "errors",
    "VerificationError": "errors",
    "WriteError": "errors",
    "printable": "errors",
    "extract": "extracting",
    "overridable": "onnx_io",
    "read": "onnx_io",
    "to_proto": "onnx_io",
    "write": "onnx_io",
    "in_order": "order",
    "sort_nodes": "order",
    "evaluate": "partial",
    "slice_of": "partial",
    "run": "runtime",
    "run_model": "runtime",
    "session": "runtime",
    "pin_shapes": "pinning",
    "check_place": "saving",
    "save": "saving",
    "TensorInfo": "shapes",
    "annotate": "shapes",
    "assumed_dims": "shapes",
    "infer": "shapes",
    "drop_unused_initializers": "sidecar",
    "functions": "sidecar",
    "graph_metadata": "sidecar",
    "model_metadata": "sidecar",
    "model_sidecar": "sidecar",
    "node_metadata": "sidecar",
    "notes": "sidecar",
    "canonical_text": "text",
    "structural_hash": "text",
    "Interface": "verifying",
    "Port": "verifying",
    "interface": "verifying",
    "verify": "verifying",
    "Index": "view",
    "View": "view",
    "STANDARD_DOMAINS": "view",
    "key": "view",
    "bodies": "walk",
    "graphs_of": "walk",
}
__all__ = [  # noqa: RUF022 (in the order of _HOMES; the public-API test compares the two)
    "clone",
    "dtype_name",
    "dtype_number",
    "name_of",
    "numpy_dtype",
    "onnx_dtype",
    "Edit",
    "InvalidModelError",
    "InvariantError",
    "ResourceLimitError",
    "RoofwrightError",
    "UnsafeModelError",
    "UnsupportedError",
    "UsageError",
    "VerificationError",
    "WriteError",
    "printable",
    "extract",
    "overridable",
    "read",
    "to_proto",
    "write",
    "in_order",
    "sort_nodes",
    "evaluate",
    "slice_of",
    "run",
    "run_model",
    "session",
    "pin_shapes",
    "check_place",
    "save",
    "TensorInfo",
    "annotate",
    "assumed_dims",
    "infer",
    "drop_unused_initializers",
    "functions",
    "graph_metadata",
    "model_metadata",
    "model_sidecar",
    "node_metadata",
    "notes",
    "canonical_text",
    "structural_hash",
    "Interface",
    "Port",
    "interface",
    "verify",
    "Index",
    "View",
    "STANDARD_DOMAINS",
    "key",
    "bodies",
    "graphs_of",
]
__getattr__ = attach(__name__, _HOMES)
