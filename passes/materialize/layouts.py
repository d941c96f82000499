"""Copies that onnxruntime makes between layouts: its convolutions hold channels in blocks (NCHWc), other operators not.

Source: core/optimizer/nchwc_transformer.cc of onnxruntime. Applied to every program before its memory is counted.
"""

from collections.abc import Sequence
from dataclasses import replace

from roofwright.graph import View
from roofwright.passes.materialize.operators import RANK
from roofwright.passes.materialize.program import Instruction, Value

CHANNELS = 16  # of one block, with AVX-512; 8 with AVX2
_MAKERS = ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
_CARRIERS = ("Add", "BatchNormalization", "Clip", "Concat", "HardSigmoid", "Mul", "Relu", "Sigmoid", "Sum", "Tanh")


def with_reorders(listed: Sequence[Instruction]) -> list[Instruction]:
    """The program with a copy wherever a value changes between the two layouts, one copy for all of its readers."""
    blocked: set[int] = set()
    twins: dict[int, Value] = {}
    found: list[Instruction] = []
    for one in listed:
        makes_blocks = _makes_blocks(one, blocked)
        reads = {}
        for position, value in one.reads.items():
            other = makes_blocks != (id(value) in blocked) and _in_blocks(value)
            reads[position] = _twin(value, twins, found) if other else value
        if makes_blocks:
            blocked.update(id(value) for value in one.makes)
        same = all(reads[position] is value for position, value in one.reads.items())
        found.append(one if same else replace(one, reads=reads))
    return found


def _twin(value: Value, twins: dict[int, Value], found: list[Instruction]) -> Value:
    """The value in the other layout."""
    if id(value) not in twins:
        twins[id(value)] = Value(value.tensor, value.rows, value.bytes)
        found.append(Instruction("reorder", {0: value}, (twins[id(value)],)))
    return twins[id(value)]


def _op(one: Instruction) -> str:
    return one.step.node.op if one.step is not None else ""


def _in_blocks(value: Value) -> bool:
    """Whether a value has enough channels to be held in blocks."""
    channels = value.tensor.shape[1] if View.rank(value.tensor) == RANK else None
    return isinstance(channels, int) and channels % CHANNELS == 0 and View.dtype(value.tensor) == "float32"


def _makes_blocks(one: Instruction, blocked: set[int]) -> bool:
    """Convolutions and pools make blocks; what carries them on does so where all that it reads is in blocks."""
    op = _op(one)
    if not one.makes or not all(_in_blocks(value) for value in one.makes):
        return False
    if op == "Conv":
        return True
    if op in _MAKERS or op in _CARRIERS:
        return bool(one.reads) and all(id(value) in blocked for value in one.reads.values())
    return False
