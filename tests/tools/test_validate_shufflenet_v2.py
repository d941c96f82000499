"""Equal work at different speed: the ShuffleNet V2 paper's tables, and its points without them."""

from collections.abc import Sequence

import pytest

from roofwright.cost_model import macs
from roofwright.tools.validate import shufflenet_v2
from roofwright.tools.validate.base import Comparison, Score, Table, Tally, read_one
from tests.shared import TRUTH, needs_truth


@needs_truth
def test_order_of_the_guidelines() -> None:
    name = "shufflenetv2_guidelines.json"
    tallies = [t for t in read_one(TRUTH / name, shufflenet_v2.READERS[name]) if isinstance(t, Tally)]
    assert sum(t.right for t in tallies) >= 0.97 * sum(t.total for t in tallies)
    assert all(t.total > 10 for t in tallies)


@needs_truth
def test_networks_of_table_8() -> None:
    name = "shufflenetv2_table8.json"
    gpu, arm = (Score.of(c) for c in read_one(TRUTH / name, shufflenet_v2.READERS[name]) if isinstance(c, Comparison))
    assert gpu.points >= 15
    assert gpu.rank >= 0.95
    assert arm.rank >= 0.97


COLUMNS = ("guideline", "variant", "device", "channels_x1", "speed_x1", "speed_x2", "speed_x4")


def _tally(rows: Sequence[tuple[object, ...]]) -> Tally:
    table = Table("guidelines", COLUMNS, tuple(rows), {})
    (gpu, _) = shufflenet_v2.read_guidelines(table)
    assert isinstance(gpu, Tally)
    return gpu


@pytest.mark.parametrize(
    ("guideline", "faster", "slower"),
    [
        ("G1", ("1:1", [128, 128]), ("1:12", [36, 432])),
        ("G2", ("g=1", 128), ("g=8", 360)),
        ("G3", ("1-fragment", 128), ("4-fragment-series", 64)),
        ("G3", ("1-fragment", 128), ("4-fragment-parallel", 64)),
        ("G4", ("neither", "c=32/64/128"), ("relu+shortcut", "c=32/64/128")),
    ],
)
def test_the_papers_four_guidelines_hold_on_a_gpu(
    guideline: str, faster: tuple[str, object], slower: tuple[str, object]
) -> None:
    rows = [(guideline, variant, "gtx1080ti", channels, *speeds) for (variant, channels), speeds in (
        (faster, (2.0, 2.0, 2.0)), (slower, (1.0, 1.0, 1.0)))]  # fmt: skip
    tally = _tally(rows)
    assert (tally.right, tally.total) == (3, 3)


def test_close_speeds_are_not_scored() -> None:
    rows = [("G2", f"g={g}", "gtx1080ti", c, 1.0, 1.05, 1.2 * g) for g, c in ((1, 128), (2, 180))]
    assert _tally(rows).total == 1


@pytest.mark.parametrize(
    ("name", "mflops"),
    [("ShuffleNet v2 1x", 146), ("ShuffleNet v1 1x (g=3)", 140), ("0.5 MobileNet v1", 149), ("1.0 MobileNet v2", 300),
     ("Xception 1x", 145), ("DenseNet 1x", 142), ("IGCV3-D", 318), ("IGCV2-0.25", 46), ("CondenseNet (G=C=8)", 274)],
)  # fmt: skip
def test_networks_have_the_multiply_accumulates_of_the_paper(name: str, mflops: float) -> None:
    model = shufflenet_v2.build(name, mflops * 1e6, 1)
    assert model is not None
    assert macs(model.works) / 1e6 == pytest.approx(mflops, rel=0.1)


def test_an_unknown_network_is_left_out() -> None:
    assert shufflenet_v2.build("Perceptron", 1e6, 1) is None
