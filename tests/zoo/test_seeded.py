import numpy as np
import pytest
from numpy.typing import NDArray

from roofwright.graph import zoo
from roofwright.graph.zoo.seeded import uniform_bytes


def values(key: str, count: int, center: float = 0.0, spread: float = 1.0) -> NDArray[np.float32]:
    return np.frombuffer(uniform_bytes(key, count, center, spread), "<f4")


def test_the_stream_is_pinned() -> None:
    """Bits, not approximations: a golden file with a weight's digest must hold on every machine and numpy version."""
    assert values("net/w", 4).tobytes().hex() == "646c9bbe3e9b0e3f4c57a63e1cfcebbe"


def test_moments() -> None:
    sample = values("net/w", 500_000, center=2.0, spread=0.5)
    assert sample.mean() == pytest.approx(2.0, abs=0.002)
    assert sample.std() == pytest.approx(0.5 / np.sqrt(3), rel=0.005)
    assert sample.min() >= 1.5
    assert sample.max() <= 2.5


def test_keys_give_different_values() -> None:
    assert not np.array_equal(values("net/a", 64), values("net/b", 64))


@pytest.mark.parametrize("count", [1, 1_000_002, 1_000_003, 1_000_004, 2_500_000])
def test_any_length(count: int) -> None:
    sample = values("net/w", count)
    assert len(sample) == count
    assert np.array_equal(sample[:1], values("net/w", 1))
    assert np.array_equal(sample[1_000_003:], sample[: max(0, count - 1_000_003)][: len(sample[1_000_003:])])


def test_no_two_rows_of_a_large_matrix_are_equal() -> None:
    rows = values("net/w", 4096 * 1024).reshape(4096, 1024)
    assert len(np.unique(rows[:, :4], axis=0)) == 4096


@pytest.mark.parametrize("name", ["mobilenet_v2", "shufflenet_v2", "resnet50", "inception_v1"])
def test_no_two_weights_of_a_network_are_equal(name: str) -> None:
    tensors = [
        tensor
        for tensor in zoo.build(name).graph.initializer
        if tensor.name.endswith(("weight", "bias", "scale", "mean", "var"))
    ]
    assert len({tensor.raw_data for tensor in tensors}) == len(tensors) > 50
