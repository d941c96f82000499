"""Networks on phones, boards and the Edge TPU; their layer lists against published counts."""

from collections.abc import Callable

import pytest

from roofwright.targets import load_target
from roofwright.tools.validate import mobile, nets_classic, nets_mobile, nets_shuffle
from roofwright.tools.validate.base import Comparison, Score, Table, read_one
from roofwright.tools.validate.nets import Layer, Map, Net
from roofwright.tools.validate.price import network_s, with_cores
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


def test_parameters_that_do_not_fit_the_edge_tpu_stream_every_time() -> None:
    columns = ("system", "model", "ms")
    rows = (("dev board", "inception_v4_299", 100.0), ("dev board", "mobilenet_v1_1.0_224", 2.2), ("x", "y", 1.0))
    (comparison,) = mobile.read_edge_tpu(Table("edge", columns, rows, {}))
    assert isinstance(comparison, Comparison)
    large, small = comparison.predicted_s
    assert 0.08 < large < 0.11  # (42.6 - 8) MB at 0.4 GB/s and its arithmetic
    assert 0.0015 < small < 0.003


# multiply-accumulates and parameters in millions, from the papers that the builders cite
COUNTS: dict[str, tuple[Callable[[Net], Map], float, float]] = {
    "mobilenet_v1": (nets_mobile.mobilenet_v1, 569, 4.2),
    "mobilenet_v2": (nets_mobile.mobilenet_v2, 300, 3.4),
    "mobilenet_v3": (nets_mobile.mobilenet_v3, 217, 5.4),
    "mnasnet": (lambda net: nets_mobile.searched(net, "mnasnet"), 315, 4.3),
    "efficientnet_b0": (lambda net: nets_mobile.searched(net, "efficientnet_b0"), 390, 5.3),
    "shufflenet_v2": (lambda net: nets_shuffle.shufflenet_v2(net, 1.0), 146, 2.3),
    "alexnet": (nets_classic.alexnet, 724, 61.0),
    "vgg16": (nets_classic.vgg16, 15_470, 138.3),
    "resnet18": (lambda net: nets_classic.resnet(net, 18), 1_814, 11.7),
    "resnet50": (lambda net: nets_classic.resnet(net, 50), 4_089, 25.5),
    "squeezenet": (nets_classic.squeezenet, 352, 1.23),
    "inception_v1": (nets_classic.inception_v1, 1_583, 7.0),
    "inception_v4": (nets_classic.inception_v4, 12_270, 42.6),
    "regnety_400m": (nets_classic.regnety_400m, 400, 4.3),
    "yolov4_tiny": (nets_classic.yolo_v4_tiny, 3_450, 6.05),
}


@pytest.mark.parametrize("name", COUNTS)
def test_layer_lists_have_the_published_counts(name: str) -> None:
    build, macs, parameters = COUNTS[name]
    net = Net()
    build(net)
    assert net.macs / 1e6 == pytest.approx(macs, rel=0.03)
    assert net.parameters / 1e6 == pytest.approx(parameters, rel=0.04)


def test_a_library_fuses_epilogues_only_behind_matrix_work() -> None:
    net = Net()
    net.conv(Map(8, 8, 8), 8)  # convolution, normalization, activation
    slow = load_target("gtx1080ti", stack="pytorch-eager")
    fused = load_target("gtx1080ti", stack="cuda8")
    assert network_s(net.layers, slow, "float32").launch_s == pytest.approx(3 * slow.stack.launch_s)
    assert network_s(net.layers, fused, "float32").launch_s == pytest.approx(fused.stack.launch_s)


def test_an_eager_host_binds_small_operators() -> None:
    net = Net()
    for _ in range(100):
        net.elementwise(Map(1, 1, 8), "act")
    target = load_target("gtx1080ti", stack="pytorch-eager")
    assert network_s(net.layers, target, "float32").seconds == pytest.approx(100 * target.stack.dispatch_s)


def test_memory_time_adds_on_small_cores_only() -> None:
    layer = [Layer("copy", None, 10**7, 10**7), *_conv_layers()]
    small, large = load_target("cortex_a57"), load_target("haswell_e5_2699v3")
    for target, adds in ((small, True), (large, False)):
        parts = network_s(layer, target, "float32")
        working = parts.matrix_s + parts.vector_s
        overhead = len(layer) * target.stack.dispatch_s
        total = working + parts.memory_s if adds else None
        assert parts.seconds - overhead == pytest.approx(total) if adds else parts.seconds < working + parts.memory_s


def _conv_layers() -> list[Layer]:
    net = Net()
    net.conv(Map(112, 112, 64), 64, norm=False, act=False)
    return net.layers


def test_fewer_cores_take_longer() -> None:
    net = Net()
    nets_mobile.mobilenet_v1(net)
    target = load_target("cortex_a72", stack="ncnn")
    times = [network_s(net.layers, with_cores(target, cores), "float32").seconds for cores in (1, 2, 4)]
    assert times == sorted(times, reverse=True)
