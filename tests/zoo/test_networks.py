import numpy as np
import onnx
import pytest

from roofwright.graph import zoo
from tests.builders import feeds, run
from tests.zoo.counting import declared, inferred

# The heavy networks run in a small variant; what they leave out is width and repetition only.
SMALL = {
    "vgg16": lambda: zoo.vgg(depth=16, size=32),
    "vgg19": lambda: zoo.vgg(depth=19, size=32),
    "unet": lambda: zoo.unet(size=188),
    "bert_base": lambda: zoo.bert(layers=2, hidden=128, head_count=4, vocabulary=500, sequence=16),
    "decoder_small": lambda: zoo.decoder(layers=2, hidden=128, head_count=4, vocabulary=500, sequence=16),
}


def network(name: str) -> onnx.ModelProto:
    return SMALL[name]() if name in SMALL else zoo.build(name)


@pytest.mark.parametrize("name", zoo.names())
def test_passes_the_checker_runs_and_depends_on_its_input(name: str) -> None:
    model = network(name)
    onnx.checker.check_model(model, full_check=True)
    inputs = feeds(model, top={"input_ids": 500})
    outputs = run(model, inputs)
    moved = {
        key: (value * 0.5 + 1).astype(value.dtype) if value.dtype.kind == "f" else 1 - value % 2
        for key, value in inputs.items()
    }
    for key, value in run(model, moved).items():
        scale = np.abs(outputs[key]).max()
        assert np.isfinite(outputs[key]).all()
        assert 0.01 < scale < 1e4
        assert np.abs(value - outputs[key]).max() > 0.01 * scale
        assert outputs[key].std() > 0.01 * scale


@pytest.mark.parametrize("name", zoo.names())
def test_declared_shapes_are_the_inferred_ones(name: str) -> None:
    model = zoo.build(name, weights=False)
    shapes = inferred(model)
    assert declared(model) == {key: shapes[key] for node in model.graph.node for key in node.output}


@pytest.mark.parametrize("name", zoo.names())
def test_names_are_unique_and_every_weight_is_used(name: str) -> None:
    graph = zoo.build(name, weights=False).graph
    produced = [value for node in graph.node for value in node.output]
    tensors = [tensor.name for tensor in graph.initializer]
    assert len({*produced, *tensors}) == len(produced) + len(tensors)
    assert set(tensors) <= {value for node in graph.node for value in node.input}
    assert [node.name for node in graph.node if len(node.output) == 1] == [
        node.output[0] for node in graph.node if len(node.output) == 1
    ]


def test_batch_of_two_is_two_batches_of_one() -> None:
    single, double = zoo.shufflenet_v2(size=64), zoo.shufflenet_v2(size=64, batch=2)
    inputs = feeds(double)
    apart = [run(single, {"input": inputs["input"][i : i + 1]})["logits"] for i in range(2)]
    together = run(double, inputs)["logits"]
    np.testing.assert_allclose(together, np.concatenate(apart), rtol=1e-4, atol=1e-4 * np.abs(together).max())


def test_every_batch_norm_statistic_varies() -> None:
    model = zoo.mobilenet_v2(width=0.35)
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert len(norms) == 52
    for node in norms:
        scale, bias, mean, variance = (arrays[name] for name in node.input[1:])
        assert all(values.std() > 0.05 for values in (scale, bias, mean, variance))
        assert variance.min() >= 0.5


def test_the_decoder_is_causal() -> None:
    model = network("decoder_small")
    inputs = feeds(model, top={"input_ids": 500})
    changed = {"input_ids": inputs["input_ids"].copy()}
    changed["input_ids"][0, -1] ^= 1
    difference = np.abs(run(model, inputs)["logits"] - run(model, changed)["logits"])[0].max(axis=1)
    assert (difference[:-1] == 0).all()
    assert difference[-1] > 0.1


def test_bert_ignores_masked_tokens() -> None:
    model = network("bert_base")
    inputs = feeds(model, top={"input_ids": 400}) | {"attention_mask": np.array([[1] * 12 + [0] * 4])}
    changed = inputs | {"input_ids": inputs["input_ids"] + np.array([0] * 12 + [7] * 4)}
    one, other = (run(model, x)["last_hidden_state"] for x in (inputs, changed))
    np.testing.assert_array_equal(one[:, :12], other[:, :12])
    assert np.abs(one[:, 12:] - other[:, 12:]).max() > 0.1


def test_unet_says_which_tiles_fit() -> None:
    with pytest.raises(ValueError, match=r"188 \+ 16 n pixels wide, not 256"):
        zoo.unet(size=256)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16", "bert_base", "decoder_small"])
def test_the_half_gigabyte_networks_run_at_full_size(name: str) -> None:
    model = zoo.build(name)
    assert model.ByteSize() > 400_000_000
    onnx.checker.check_model(model)
    for value in run(model, feeds(model)).values():
        assert np.isfinite(value).all()
        assert value.std() > 0.01
