"""A model's bytes in pieces: its weights are written from where they lie, never gathered in one message.

A message of hundreds of megabytes is what makes protobuf slow: it grows its buffer by copying it. Here the initializers
of the main graph are encoded one by one and put where protobuf would have written them: it writes fields in the order
of their numbers (as every implementation does; the wire format itself would allow any order).
"""

from collections.abc import Callable
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from google.protobuf.message import EncodeError

from roofwright.graph.errors import WriteError
from roofwright.graph.exporter import Emit, export_model
from roofwright.graph.skeleton import proto_graphs

Pieces = list[Any]  # bytes and byte arrays
_INITIALIZER = 5  # its number in GraphProto, which is less than those of all fields but nodes and the name
_GRAPH = 7  # its number in ModelProto
_LARGEST_BYTES = 2**31 - 1  # protobuf's limit
_TOO_LARGE = "the model is larger than 2 GiB without external data"
_BYTES = 2  # wire type of what has a length: https://protobuf.dev/programming-guides/encoding


def model_pieces(
    graph: gs.Graph,
    emit: Emit,
    encode: Callable[[gs.Constant], Pieces],
    finish: Callable[[onnx.ModelProto], None],
) -> Pieces:
    """What `export_model(graph, emit)` would be as bytes, one after the other.

    Args:
        graph: the main graph.
        emit: how the values of initializers in bodies and of tensor attributes are written.
        encode: an initializer of the main graph as an encoded TensorProto.
        finish: what is still to do with the model, which has no initializers.

    Raises:
        WriteError: protobuf could not read so much.
    """
    waiting: list[gs.Constant] = []

    def wait(constant: gs.Constant, out: onnx.TensorProto) -> None:
        out.name = str(len(waiting))
        waiting.append(constant)

    model = export_model(graph, wait, emit)
    for body in proto_graphs(model.graph)[1:]:
        for tensor in body.initializer:
            constant = waiting[int(tensor.name)]
            tensor.Clear()
            emit(constant, tensor)
    weights = [encode(waiting[int(tensor.name)]) for tensor in model.graph.initializer]
    del model.graph.initializer[:]
    finish(model)
    inner, after = halves(model.graph, _INITIALIZER)
    inside = [inner, *(piece for found in weights for piece in field(_INITIALIZER, found)), after]
    model.ClearField("graph")
    before, rest = halves(model, _GRAPH)
    pieces = [before, *field(_GRAPH, inside), rest]
    if _total_bytes(pieces) > _LARGEST_BYTES:
        raise WriteError(_TOO_LARGE)
    return pieces


def field(number: int, pieces: Pieces) -> Pieces:
    """A field of a message, with its tag and its length."""
    return [_varint(number << 3 | _BYTES) + _varint(_total_bytes(pieces)), *pieces]


def encoded(message: Any) -> bytes:
    """A message as bytes."""
    try:
        return bytes(message.SerializeToString())
    except (ValueError, EncodeError):
        raise WriteError(_TOO_LARGE) from None


def halves(message: Any, number: int) -> tuple[bytes, bytes]:
    """An encoded message cut where a field with this number would stand; the first half is cleared in the message."""
    whole = encoded(message)
    for descriptor, _ in message.ListFields():
        if descriptor.number < number:
            message.ClearField(descriptor.name)
    after = encoded(message)
    return whole[: len(whole) - len(after)], after


def _total_bytes(pieces: Pieces) -> int:
    return sum(memoryview(piece).nbytes for piece in pieces)


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    made = bytearray()
    while rest:
        made.append(low | 0x80)
        low, rest = rest & 0x7F, rest >> 7
    return bytes([*made, low])
