"""Data movement and views: which bytes are touched, and what is free."""

import numpy as np
import pytest

from tests.cost_model.asks import touched, weight, work

MAP = (1, 6, 4, 4)
N = 96
_SEQUENCES = ["SequenceConstruct", "SequenceAt", "SequenceInsert", "SequenceLength", "Optional", "OptionalHasElement"]


def test_copies_move_every_byte() -> None:
    for counted in (
        work("Transpose", [MAP], [(1, 4, 4, 6)], perm=[0, 2, 3, 1]),
        work("Concat", [(1, 2, 4, 4), (1, 4, 4, 4)], [MAP], axis=1),
        work("DepthToSpace", [(1, 24, 2, 2)], [MAP], blocksize=2),
        work("ReverseSequence", [MAP, (6,)], [MAP]),
    ):
        assert counted.kind == "move"
        assert sum(o.elements for o in counted.reads) in (N, N + 6)
        assert sum(o.elements for o in counted.writes) == N
        assert counted.lane_ops == 0


def test_what_only_looks_like_a_copy_is_a_view() -> None:
    assert work("Transpose", [(1, 6, 1, 4)], [(6, 1, 4, 1)], perm=[1, 2, 3, 0]).alias_of == "i0"
    assert work("Transpose", [(1, 5)], [(5, 1)]).kind == "view"
    assert work("Concat", [MAP], [MAP], axis=1).kind == "view"
    assert work("Expand", [MAP, weight(4, dtype=np.int64)], [MAP]).kind == "view"
    assert work("Split", [MAP], [MAP]).kind == "view"


@pytest.mark.parametrize("op", ["Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "BitCast", "Dropout"])
def test_views_name_the_bytes_they_show(op: str) -> None:
    counted = work(op, [MAP], [(N,)])
    assert (counted.kind, counted.alias_of, counted.reads, counted.writes) == ("view", "i0", (), ())


@pytest.mark.parametrize("op", _SEQUENCES)
def test_containers_are_handles(op: str) -> None:
    assert work(op, [MAP], [None, ("unknown",)]).kind == "view"


def test_parts_read_what_they_keep() -> None:
    assert touched(work("Slice", [MAP, *[weight(1, dtype=np.int64)] * 2], [(1, 2, 4, 4)]), "i0") == 32
    assert touched(work("Pad", [MAP, weight(8, dtype=np.int64)], [(1, 6, 6, 6)]), "i0") == N
    assert touched(work("Split", [MAP], [(1, 2, 4, 4), None, (1, 1, 4, 4)], axis=1), "i0") == 48
    assert touched(work("Tile", [MAP, weight(4, dtype=np.int64)], [(2, 6, 4, 4)]), "i0") == N
    assert touched(work("Compress", [(10, 8), (10,)], [(3, 8)], dtypes=["float32", "bool", "float32"]), "i0") == 24


def test_an_embedding_reads_the_rows_it_looks_up() -> None:
    counted = work("Gather", [weight(30522, 768), (1, 128)], [(1, 128, 768)], dtypes=["float32", "int64", "float32"])
    assert touched(counted, "i0") == 128 * 768
    assert touched(counted, "i1") == 128
    assert counted.reads[0].constant
    assert touched(work("Gather", [(3, 4), (100,)], [(100, 4)], dtypes=["float32", "int64", "float32"]), "i0") == 12


def test_scatters() -> None:
    types = ["float32", "int64", "float32", "float32"]
    counted = work("ScatterND", [(10, 4), (2, 1), (2, 4)], [(10, 4)], dtypes=types)
    assert [o.elements for o in counted.reads] == [40, 2, 8]
    assert work("ScatterND", [(10, 4), (2, 1), (2, 4)], [(10, 4)], dtypes=types, reduction="add").lane_ops == 8
    cache = work("TensorScatter", [(1, 8, 1024, 64), (1, 8, 1, 64)], [(1, 8, 1024, 64)])
    assert [o.elements for o in (*cache.reads, *cache.writes)] == [512, 512]


@pytest.mark.parametrize(("upper", "k", "kept"), [(1, 0, 6), (0, 0, 6), (1, 1, 3), (0, -1, 3), (1, 9, 0), (0, 9, 9)])
def test_triangles(upper: int, k: int, kept: int) -> None:
    counted = work("Trilu", [(2, 3, 3), np.array(k)], [(2, 3, 3)], upper=upper)
    assert touched(counted, "i0") == 2 * kept
    keep = np.triu(np.ones((3, 3)), k) if upper else np.tril(np.ones((3, 3)), k)
    assert kept == keep.sum()


def test_fills() -> None:
    assert work("ConstantOfShape", [(2,)], [(5, 6)], dtypes=["int64", "float32"]).reads == ()
    assert work("Range", [(), (), ()], [(100,)]).lane_ops == 100
    assert work("OneHot", [(5,), (), (2,)], [(5, 9)]).lane_ops == 45
    assert work("NonZero", [(5, 4)], [(2, 7)], dtypes=["float32", "int64"]).lane_ops == 20
    assert work("Col2Im", [(1, 12, 4), *[weight(2, dtype=np.int64)] * 2], [(1, 3, 4, 4)]).lane_ops == 48


def test_sequences_of_tensors_are_copied() -> None:
    joined = work("ConcatFromSequence", [("unknown",)], [MAP])
    assert [o.elements for o in (*joined.reads, *joined.writes)] == [N, N]
    parted = work("SplitToSequence", [MAP], [("unknown",)])
    assert [o.elements for o in (*parted.reads, *parted.writes)] == [N, N]


def test_dropout_in_training_is_random() -> None:
    training = work("Dropout", [MAP, None, ()], [MAP], dtypes=["float32", "float32", "bool", "float32"])
    assert training.kind == "not_modelled"
    assert work("Dropout", [MAP, None, np.array(False)], [MAP]).kind == "view"


def test_an_unknown_shape_is_said() -> None:
    counted = work("Relu", [("N", 3)], [("N", 3)])
    assert (counted.kind, counted.reason) == ("not_modelled", "shape of 'o0' unknown")
