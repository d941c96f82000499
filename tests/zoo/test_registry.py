import subprocess
import sys

import onnx
import pytest

from roofwright.graph import zoo
from roofwright.graph.errors import UsageError

PROMISED = {
    "mobilenet_v1",
    "mobilenet_v2",
    "shufflenet_v2",
    "squeezenet",
    "resnet18",
    "resnet50",
    "vgg16",
    "inception_v1",
    "unet",
    "bert_base",
    "decoder_small",
}


def test_the_promised_networks_are_there() -> None:
    assert set(zoo.names()) >= PROMISED


def test_unknown_name_gets_the_closest_one() -> None:
    with pytest.raises(UsageError, match="no zoo network is called 'mobilnet_v2'; did you mean 'mobilenet_v2'"):
        zoo.build("mobilnet_v2")


def test_hopeless_name_gets_the_list() -> None:
    with pytest.raises(UsageError, match=r"known: mobilenet_v1, mobilenet_v2, .*, decoder_small"):
        zoo.build("qqq")


def test_listing_imports_no_onnx() -> None:
    code = "import sys; from roofwright.graph import zoo; zoo.names(); sys.exit('onnx' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", zoo.names())
def test_interface(name: str) -> None:
    model = zoo.build(name, weights=False)
    inputs, outputs = ([value.name for value in values] for values in (model.graph.input, model.graph.output))
    assert model.graph.name == name
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    if name == "bert_base":
        assert (inputs, outputs) == (
            ["input_ids", "attention_mask", "token_type_ids"],
            ["last_hidden_state", "pooler_output"],
        )
    else:
        assert (inputs, outputs) == (["input_ids"] if name == "decoder_small" else ["input"], ["logits"])
    assert all(value.type.tensor_type.shape.dim[0].dim_value == 1 for value in model.graph.input)


def test_without_weights_only_their_data_is_missing() -> None:
    full, bare = zoo.build("squeezenet1_1"), zoo.build("squeezenet1_1", weights=False)
    assert bare.ByteSize() < 50_000 < full.ByteSize()
    for tensor in full.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.ClearField("raw_data")
    assert full.SerializeToString(deterministic=True) == bare.SerializeToString(deterministic=True)


def test_building_twice_gives_the_same_bytes() -> None:
    first, second = (zoo.build("mobilenet_v2").SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_resolution_and_batch_leave_the_weights_alone() -> None:
    one, other = zoo.mobilenet_v2(width=0.35), zoo.mobilenet_v2(width=0.35, size=96, batch=4)
    for a, b in zip(one.graph.initializer, other.graph.initializer, strict=True):
        assert a.SerializeToString() == b.SerializeToString()
