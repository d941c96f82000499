from collections.abc import Callable
from functools import partial

import onnx
import pytest

from roofwright.graph import zoo
from tests.passes.batches import assert_widens

bert = partial(zoo.bert, layers=2, hidden=32, head_count=4, vocabulary=50, sequence=8)
decoder = partial(zoo.decoder, layers=2, hidden=32, head_count=4, vocabulary=50, sequence=8)
NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "bert": bert,
    "bert_of_four": partial(bert, batch=4),
    "decoder": decoder,
    "mobilenet_v2": lambda: zoo.mobilenet_v2(size=64),
    "shufflenet_v2": lambda: zoo.shufflenet_v2(size=64),
    "squeezenet": lambda: zoo.build("squeezenet"),
    "inception_v1": lambda: zoo.build("inception_v1"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_three_samples_what_it_gives_each(name: str) -> None:
    assert_widens(NETWORKS[name](), 3, top=50 if name.startswith("decoder") else {"input_ids": 50})


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in zoo.names() if name not in ("vgg19", "bert_base", "decoder_small")])
@pytest.mark.parametrize("batch", [2, 7])
def test_every_network_of_the_zoo_can_be_widened(name: str, batch: int) -> None:
    assert_widens(zoo.unet(size=188) if name == "unet" else zoo.build(name), batch)
