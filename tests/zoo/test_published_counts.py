"""MACs and parameters against the figures that papers and model collections print.

"torchvision" is github.com/pytorch/vision, torchvision/models/*.py: `num_params` (exact) and `_ops` (GMACs, three
decimals) of each network's weights. "slim" is github.com/tensorflow/models, research/slim/nets/mobilenet/README.md.
"""

from collections.abc import Callable

import onnx
import pytest

from roofwright.graph import zoo
from tests.zoo.counting import macs, parameters

TORCHVISION = {  # name: num_params, _ops
    "mobilenet_v2": (3_504_872, "0.301"),
    "mobilenet_v3_large": (5_483_032, "0.217"),
    "mobilenet_v3_small": (2_542_856, "0.057"),
    "shufflenet_v2": (2_278_604, "0.145"),
    "squeezenet": (1_248_424, "0.819"),  # also arXiv:1602.07360, Table 1: 1,248,424 in total
    "squeezenet1_1": (1_235_496, "0.349"),
    "resnet18": (11_689_512, "1.814"),
    "resnet34": (21_797_672, "3.664"),
    "resnet50": (25_557_032, "4.089"),
    "resnet101": (44_549_160, "7.801"),
    "vgg16": (138_357_544, "15.470"),
    "vgg19": (143_667_240, "19.632"),
}
EXACT_PARAMETERS = {
    "mobilenet_v1": 4_231_976,  # keras.io/api/applications/mobilenet: 4,253,864, of which 21,888 are not trainable
    "inception_v1": 6_998_552,  # BVLC GoogLeNet without auxiliary heads: 6,990,272 weights and 8,280 biases
    "unet": 31_030_658,  # gchlebus.github.io, profiling-tf-models/u_net.py: arXiv:1505.04597, Fig. 1, as drawn
    "bert_base": 109_482_240,  # huggingface.co bert-base-uncased, BertModel with pooler; arXiv:1810.04805, Sec. 3: 110M
    "decoder_small": 124_439_808,  # huggingface.co gpt2, tied embeddings; github.com/openai/gpt-2: 124M
}
PAPERS = [  # network, printed MACs, unit, allowed difference in that unit, where
    ("mobilenet_v1", 569, 1e6, 0.5, "arXiv:1704.04861, Table 4"),
    ("mobilenet_v2", 300, 1e6, 1.0, "arXiv:1801.04381, Table 4 (cut, not rounded)"),
    ("shufflenet_v1", 137, 1e6, 0.5, "arXiv:1707.01083, Table 1, g = 3"),
    ("shufflenet_v2", 146, 1e6, 1.5, "arXiv:1807.11164, Table 5 (counts pooling, too)"),
    ("resnet18", 1.8, 1e9, 0.05, "arXiv:1512.03385, Table 1"),
    ("resnet34", 3.6, 1e9, 0.1, "arXiv:1512.03385, Table 1 (cut, not rounded)"),
    ("vgg16", 15.5, 1e9, 0.05, "arXiv:1605.07678, Fig. 2; torchvision 15.47"),
]
SLIM_V2 = [  # width, size, MACs in millions, parameters in millions
    (1.4, 224, 582, 6.06),
    (1.3, 224, 509, 5.34),
    (1.0, 224, 300, 3.47),
    (1.0, 192, 221, 3.47),
    (1.0, 160, 154, 3.47),
    (1.0, 128, 99, 3.47),
    (0.5, 192, 71, 1.95),
    (0.5, 160, 50, 1.95),
    (0.5, 128, 32, 1.95),
    (0.5, 96, 18, 1.95),
    (0.35, 224, 59, 1.66),
    (0.35, 192, 43, 1.66),
    (0.35, 160, 30, 1.66),
    (0.35, 128, 20, 1.66),
    (0.35, 96, 11, 1.66),
]
GOOGLENET = {  # operations in millions, arXiv:1409.4842, Table 1
    "conv2": 360,
    "inception3a": 128,
    "inception3b": 304,
    "inception4a": 73,
    "inception4b": 88,
    "inception4c": 100,
    "inception4d": 119,
    "inception4e": 170,
    "inception5b": 71,
    "logits": 1,
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_counts(name: str) -> None:
    model = zoo.build(name, weights=False)
    exact, giga = TORCHVISION[name]
    assert parameters(model) == exact
    assert f"{macs(model) / 1e9:.3f}" == giga


@pytest.mark.parametrize("name", EXACT_PARAMETERS)
def test_exact_parameter_counts(name: str) -> None:
    assert parameters(zoo.build(name, weights=False)) == EXACT_PARAMETERS[name]


@pytest.mark.parametrize(("name", "printed", "unit", "slack", "where"), PAPERS)
def test_macs_of_the_papers(name: str, printed: float, unit: float, slack: float, where: str) -> None:
    assert macs(zoo.build(name, weights=False)) / unit == pytest.approx(printed, abs=slack), where


def test_every_network_has_a_published_count() -> None:
    assert set(zoo.names()) == {*TORCHVISION, *EXACT_PARAMETERS, "shufflenet_v1"}


@pytest.mark.parametrize(("width", "size", "mega_macs", "mega_parameters"), SLIM_V2)
def test_mobilenet_v2_variants_of_slim(width: float, size: int, mega_macs: float, mega_parameters: float) -> None:
    model = zoo.mobilenet_v2(width=width, size=size, weights=False)
    assert macs(model) / 1e6 == pytest.approx(mega_macs, abs=1.0)
    assert parameters(model) / 1e6 == pytest.approx(mega_parameters, rel=0.015)  # slim leaves out batch norm's scale


@pytest.mark.parametrize(("width", "mega_macs"), [(0.5, 149), (0.75, 325)])
def test_mobilenet_v1_variants(width: float, mega_macs: float) -> None:
    """arXiv:1704.04861, Table 6."""
    assert macs(zoo.mobilenet_v1(width=width, weights=False)) / 1e6 == pytest.approx(mega_macs, abs=0.6)


@pytest.mark.parametrize(("size", "mega_macs"), [(192, 418), (160, 290), (128, 186)])
def test_mobilenet_v1_resolutions(size: int, mega_macs: float) -> None:
    """arXiv:1704.04861, Table 7."""
    assert macs(zoo.mobilenet_v1(size=size, weights=False)) / 1e6 == pytest.approx(mega_macs, abs=1.0)


def test_mobilenet_v3_variants() -> None:
    """Slim's table; the MACs it gives for the small network do not fit the network's definition, the parameters do."""
    narrow = zoo.mobilenet_v3(width=0.75, weights=False)
    assert f"{macs(narrow) / 1e6:.0f} {parameters(narrow) / 1e6:.1f}" == "155 4.0"
    large = zoo.mobilenet_v3(minimalistic=True, weights=False)
    assert f"{macs(large) / 1e6:.0f} {parameters(large) / 1e6:.1f}" == "209 3.9"
    assert f"{parameters(zoo.mobilenet_v3(version='small', minimalistic=True, weights=False)) / 1e6:.1f}" == "2.0"


@pytest.mark.parametrize(
    ("width", "exact", "giga"), [(0.5, 1_366_792, "0.040"), (1.5, 3_503_624, "0.296"), (2.0, 7_393_996, "0.583")]
)
def test_shufflenet_v2_variants(width: float, exact: int, giga: str) -> None:
    """Torchvision's three other widths."""
    model = zoo.shufflenet_v2(width=width, weights=False)
    assert parameters(model) == exact
    assert f"{macs(model) / 1e9:.3f}" == giga


@pytest.mark.parametrize(
    ("width", "mega_macs", "mega_parameters"), [(0.5, 38, 0.7), (1.0, 138, 1.9), (1.5, 292, 3.4), (2.0, 524, 5.4)]
)
def test_shufflenet_v1_variants(width: float, mega_macs: float, mega_parameters: float) -> None:
    """github.com/megvii-model/ShuffleNet-Series, table of ShuffleNetV1 with three groups."""
    model = zoo.shufflenet_v1(width=width, weights=False)
    assert macs(model) / 1e6 == pytest.approx(mega_macs, abs=0.6)
    assert parameters(model) / 1e6 == pytest.approx(mega_parameters, abs=0.06)


def test_resnets_of_the_paper() -> None:
    """arXiv:1512.03385, Table 1: 3.8 and 7.6 GMACs with the stride in the first 1x1; the parameters stay the same."""
    first = {
        50: zoo.resnet(depth=50, version="1", weights=False),
        101: zoo.resnet(depth=101, version="1", weights=False),
    }
    assert [macs(first[depth]) / 1e9 for depth in (50, 101)] == pytest.approx([3.8, 7.6], abs=0.06)
    assert [parameters(first[depth]) for depth in (50, 101)] == [25_557_032, 44_549_160]


@pytest.mark.parametrize("row", GOOGLENET)
def test_googlenet_row_by_row(row: str) -> None:
    """The operations of the table, but for two rows that contradict the filters printed beside them.

    The first row (34 M) is not its 7x7/2 convolution (118 M), and 5a (54 M) not its six filters (51 M).
    """
    assert macs(zoo.build("inception_v1", weights=False), row) / 1e6 == pytest.approx(GOOGLENET[row], abs=0.8)


def test_googlenet_in_total() -> None:
    """The table's sum, 1502 M, with its two slips mended."""
    model = zoo.build("inception_v1", weights=False)
    stem = 7 * 7 * 3 * 64 * 112 * 112
    assert macs(model, "conv1") == stem
    assert macs(model) / 1e6 == pytest.approx(1502 - 34 + stem / 1e6 - 54 + 51, abs=5)


def test_unet_by_its_figure() -> None:
    """arXiv:1505.04597, Fig. 1: output size, input and output channels of its 23 convolutions, read off the figure."""
    down = [(570, 1, 64), (568, 64, 64), (282, 64, 128), (280, 128, 128), (138, 128, 256), (136, 256, 256)]
    bottom = [(66, 256, 512), (64, 512, 512), (30, 512, 1024), (28, 1024, 1024)]
    up = [(54, 1024, 512), (52, 512, 512), (102, 512, 256), (100, 256, 256), (198, 256, 128), (196, 128, 128)]
    top = [(390, 128, 64), (388, 64, 64)]
    threes = sum(9 * size**2 * inner * outer for size, inner, outer in down + bottom + up + top)
    ups = sum(size**2 * 2 * channels**2 for size, channels in ((56, 512), (104, 256), (200, 128), (392, 64)))
    model = zoo.build("unet", weights=False)
    assert macs(model) == threes + ups + 388**2 * 64 * 2
    assert sum(node.op_type in ("Conv", "ConvTranspose") for node in model.graph.node) == 23


def test_bert_base_flops() -> None:
    """arXiv:1909.10351, Table 1: 22.5 B FLOPs at 128 tokens, elementwise operations included (under 1 %)."""
    assert 2 * macs(zoo.build("bert_base", weights=False)) == pytest.approx(22.5e9, rel=0.01)


def test_decoder_macs_by_the_formula() -> None:
    """arXiv:2001.08361, Sec. 2.1: N = 12 layers d^2 MACs per token, besides attention and the output embedding."""
    layers, width, tokens, vocabulary = 12, 768, 128, 50257
    per_token = 12 * layers * width**2 + 2 * layers * tokens * width + vocabulary * width
    assert macs(zoo.build("decoder_small", weights=False)) == tokens * per_token


@pytest.mark.parametrize(
    "build",
    [
        lambda batch: zoo.mobilenet_v2(batch=batch, weights=False),
        lambda batch: zoo.shufflenet_v2(batch=batch, weights=False),
        lambda batch: zoo.bert(layers=2, batch=batch, weights=False),
        lambda batch: zoo.decoder(layers=2, batch=batch, weights=False),
    ],
)
def test_macs_grow_with_the_batch(build: Callable[[int], onnx.ModelProto]) -> None:
    assert macs(build(8)) == 8 * macs(build(1))
    assert parameters(build(8)) == parameters(build(1))
