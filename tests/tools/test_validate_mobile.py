"""Networks on phones, boards and the Edge TPU, priced by `estimate`."""

import pytest

from roofwright.tools.validate import mobile
from roofwright.tools.validate.base import Comparison, Score, Table, read_one
from tests.shared import TRUTH, needs_truth


@needs_truth
def test_edge_tpu_networks() -> None:
    (comparison,) = read_one(TRUTH / "edgetpu_coral.json", mobile.read_edge_tpu)
    assert isinstance(comparison, Comparison)
    ratios = zip(comparison.labels, comparison.predicted_s / comparison.measured_s, strict=True)
    gated = [ratio for label, ratio in ratios if label.startswith(("mobilenet", "inception_v4"))]
    assert len(gated) >= 4
    assert all(1 / 1.5 <= ratio <= 1.5 for ratio in gated)


@needs_truth
@pytest.mark.parametrize(("name", "rank"), [("ncnn_networks.json", 0.88), ("mobilenet_pixel.json", 0.94)])
def test_phones_and_boards_rank_their_networks(name: str, rank: float) -> None:
    scores = [Score.of(c) for c in read_one(TRUTH / name, mobile.READERS[name]) if isinstance(c, Comparison)]
    assert len(scores) >= 3
    assert all(score.rank >= rank for score in scores)


@needs_truth
def test_mobilenets_on_pixels() -> None:
    name = "mobilenet_pixel.json"
    scores = [Score.of(c) for c in read_one(TRUTH / name, mobile.read_pixel) if isinstance(c, Comparison)]
    assert all(score.median_error <= 0.15 for score in scores)


def test_parameters_that_do_not_fit_the_edge_tpu_stream_every_time() -> None:
    columns = ("system", "model", "ms")
    rows = (("dev board", "inception_v4_299", 100.0), ("dev board", "mobilenet_v1_1.0_224", 2.2), ("x", "y", 1.0))
    (comparison,) = mobile.read_edge_tpu(Table("edge", columns, rows, {}))
    assert isinstance(comparison, Comparison)
    large, small = comparison.predicted_s
    assert 0.08 < large < 0.12  # (42.6 - 8) MB at 0.4 GB/s and its arithmetic
    assert 0.0015 < small < 0.003


def test_int8_is_faster_than_float32_where_the_cores_have_it() -> None:
    columns = ("device", "threads", "powersave", "gpu_device", "model", "min_ms")
    rows = tuple(("rpi4", 4, 0, -1, model, 50.0) for model in ("mobilenet", "mobilenet_int8", "no_such_net"))
    plain, quantized = mobile.read_ncnn(Table("ncnn", columns, rows, {}))
    assert isinstance(plain, Comparison)
    assert isinstance(quantized, Comparison)
    assert [plain.kind, quantized.kind] == ["ncnn float32", "ncnn int8"]
    assert quantized.predicted_s[0] < plain.predicted_s[0]
