"""The validation prices nothing itself: `estimate`, on the networks and kernels that a table measured."""

from collections.abc import Callable
from dataclasses import replace

import onnx
import onnx_graphsurgeon as gs
import pytest

from roofwright.cost_model import GraphModel, LoopNest, estimate, macs, parameters
from roofwright.graph import zoo
from roofwright.targets import Target, load_target, with_cores
from roofwright.tools.validate import nets_classic, nets_searched, nets_shuffle
from roofwright.tools.validate.models import Calls, model_of, nearest, with_views
from roofwright.tools.validate.nets import Net
from roofwright.tools.validate.price import network_s, scheduled, stored_as

# multiply-accumulates and parameters in millions, from the papers that the builders cite
COUNTS: dict[str, tuple[Callable[[], onnx.ModelProto], float, float]] = {
    "mnasnet": (lambda: nets_searched.searched("mnasnet"), 315, 4.3),
    "efficientnet_b0": (lambda: nets_searched.searched("efficientnet_b0"), 390, 5.3),
    "igcv3": (lambda: nets_searched.igcv3(1.0, 1), 318, 3.5),
    "alexnet": (nets_classic.alexnet, 724, 61.0),
    "inception_v4": (nets_classic.inception_v4, 12_270, 42.6),
    "regnety_400m": (nets_searched.regnety_400m, 400, 4.3),
    "yolov4_tiny": (nets_classic.yolo_v4_tiny, 3_450, 6.05),
}


@pytest.mark.parametrize("name", COUNTS)
def test_networks_have_the_published_counts(name: str) -> None:
    build, millions, weights = COUNTS[name]
    proto = build()
    assert macs(model_of(proto).works) / 1e6 == pytest.approx(millions, rel=0.03)
    assert parameters(gs.import_onnx(proto)) / 1e6 == pytest.approx(weights, rel=0.04)


def block() -> onnx.ModelProto:
    """Convolution, normalization, activation, addition."""
    net = Net()
    x = net.image(8, 8)
    return net.output(net.add(net.conv(x, 8), x))


def on(target: Target, **changes: object) -> Target:
    return replace(target, stack=replace(target.stack, **changes))  # type: ignore[arg-type]  # named fields of a stack


@pytest.mark.parametrize(
    ("fuses", "folded", "kernels"),
    [((), (), 4), (("bias", "activation"), (), 2), (("bias", "activation"), ("BatchNormalization",), 2),
     (("bias", "activation", "residual"), ("BatchNormalization",), 1)],
)  # fmt: skip
def test_the_stack_decides_what_shares_a_kernel(fuses: tuple[str, ...], folded: tuple[str, ...], kernels: int) -> None:
    target = on(load_target("gtx1080ti"), fuses=fuses)
    assert len(network_s(model_of(block(), folded), target).estimate.kernels) == kernels


def test_seconds_are_the_steady_period_of_the_products_estimate() -> None:
    model, target = model_of(block()), load_target("edgetpu")
    schedule = scheduled(model, target)
    assert schedule is not None
    assert network_s(model, target).seconds == estimate(model, target, schedule, resident_weights=True).period_s


def test_a_network_is_stored_and_multiplied_in_the_dtype_that_was_measured() -> None:
    model, target = model_of(block()), load_target("v100")
    half, single = (estimate(model, stored_as(target, dtype)) for dtype in ("float16", "float32"))
    assert half.off_chip_bytes == pytest.approx(single.off_chip_bytes / 2)
    assert stored_as(target, None) is target


def test_work_that_the_machine_cannot_do_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Conv .* on p100: .* int4"):
        network_s(model_of(block()), load_target("p100"), "int4")


def test_taking_channels_apart_moves_nothing_in_views() -> None:
    net = Net()
    left, right = net.parts(net.act(net.image(8, 8)), 2)
    model = model_of(net.output(net.concat(net.conv(right, 4), left)))
    gone = [{entry.op for entry in m.works if entry.work.kind != "view"} for m in (model, with_views(model))]
    assert gone[0] - gone[1] == {"Split"}
    priced = estimate(with_views(model), load_target("gtx1080ti"))
    assert not priced.not_modelled
    assert priced.latency_s < estimate(model, load_target("gtx1080ti")).latency_s


def test_a_stream_of_calls_repeats_and_reads_what_was_left() -> None:
    calls = Calls()
    calls.nest(LoopNest(1, 1, 4, 1, 32, 16, in_h=4), 3)
    calls.lanes(128, 128)
    model = calls.model
    assert isinstance(model, GraphModel)
    assert macs(model.works) == 3 * 4 * 16 * 32
    first, second = model.works
    assert second.work.reads[0].name == first.work.writes[0].name
    assert model.inputs["input"][0] == 4 * 16


def test_the_option_nearest_to_the_macs_is_found() -> None:
    def build(channels: int) -> onnx.ModelProto:
        net = Net()
        return net.output(net.conv(net.image(4, 8), channels))

    assert nearest(build, 4 * 4 * 8 * 21, range(2, 65, 2)) == 20
    assert nearest(build, 0, range(2, 65, 2)) == 2
    assert nearest(build, 1e9, range(2, 65, 2)) == 64


def test_fewer_cores_take_longer() -> None:
    model, target = model_of(zoo.mobilenet_v1(weights=False)), load_target("cortex_a72", stack="ncnn")
    times = [network_s(model, with_cores(target, cores)).seconds for cores in (1, 2, 4)]
    assert times == sorted(times, reverse=True)
    assert times[0] < 4 * times[2]


def test_index_layers_reorder_the_channels_of_condensed_blocks() -> None:
    plain, condensed = (model_of(nets_shuffle.densenet_like(16, 1, groups)) for groups in (1, 4))
    moves = [sum(entry.op == "Transpose" for entry in model.works) for model in (plain, condensed)]
    assert moves[0] == 0 < moves[1]
    assert macs(condensed.works) < macs(plain.works)
