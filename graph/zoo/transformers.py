"""BERT and a GPT-2-like decoder."""

import numpy as np
import onnx
from onnx import TensorProto

from roofwright.graph.zoo.attention import (
    attend,
    dense,
    dense_gemm,
    embedding,
    gelu_erf,
    gelu_tanh,
    heads,
    layer_norm,
    positions,
    scores,
    table,
)
from roofwright.graph.zoo.layers import add, reshape
from roofwright.graph.zoo.net import Net, Value

_LOWEST = float(np.finfo(np.float32).min)


def bert(
    *,
    layers: int = 12,
    hidden: int = 768,
    head_count: int = 12,
    vocabulary: int = 30522,
    sequence: int = 128,
    batch: int = 1,
    weights: bool = True,
) -> onnx.ModelProto:
    """BERT with its pooler (Devlin et al., arXiv:1810.04805, Sec. 3); the defaults are BERT-base, uncased.

    Inputs `input_ids`, `attention_mask`, `token_type_ids` (int64); outputs `last_hidden_state`, `pooler_output`.

    Args:
        layers: encoder layers.
        hidden: features; the feed-forward layer has four times as many.
        head_count: attention heads.
        vocabulary: rows of the word embedding; 512 positions and 2 token types besides.
        sequence: tokens of a request, at most 512.
        batch: sequences per request.
        weights: False leaves the weights without data.
    """
    net = Net("bert_base" if (layers, hidden) == (12, 768) else f"bert_{layers}_{hidden}", weights=weights)
    ids, mask, types = (
        net.input(name, (batch, sequence), TensorProto.INT64)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    bias = _mask_bias(net, mask)
    shape = (batch, sequence, hidden)
    x = embedding(net, ids, shape, table(net, vocabulary, hidden, "embedding.word"))
    x = add(net, x, embedding(net, types, shape, table(net, 2, hidden, "embedding.type")), "embedding.typed")
    place = embedding(net, positions(net, sequence), (1, *shape[1:]), table(net, 512, hidden, "embedding.position"))
    x = layer_norm(net, add(net, x, place, "embedding.placed"), "embedding.norm", 1e-12)
    for index in range(1, layers + 1):
        x = _encoder_layer(net, x, bias, head_count, f"layer{index}", last=index == layers)
    first = net.op("Gather", "pooler.first", [x, net.constant("first", np.array(0, np.int64))], (batch, hidden), axis=1)
    weight = net.weight("pooler.weight", (hidden, hidden), spread=(3 / hidden) ** 0.5)
    pooled = net.op(
        "Gemm", "pooler", [first, weight, net.weight("pooler.bias", (hidden,), spread=0.1)], first.shape, transB=1
    )
    return net.output(x, net.op("Tanh", "pooler_output", [pooled], pooled.shape))


def _mask_bias(net: Net, mask: Value) -> Value:
    """What is added to the scores: 0 where the mask is 1, the lowest float where it is 0."""
    batch, sequence = mask.shape
    shape = (batch, 1, 1, sequence)
    x = net.op("Unsqueeze", "mask.wide", [mask, net.ints("mask.axes", [1, 2])], shape, dtype=TensorProto.INT64)
    x = net.op("Cast", "mask.float", [x], shape, to=TensorProto.FLOAT)
    x = net.op("Sub", "mask.inverted", [net.scalar("one", 1.0), x], shape)
    return net.op("Mul", "mask.bias", [x, net.scalar("lowest", _LOWEST)], shape)


def _encoder_layer(net: Net, x: Value, bias: Value, head_count: int, name: str, *, last: bool) -> Value:
    """Self-attention and feed-forward, each added to its input and normalized afterwards."""
    query = heads(net, dense(net, x, x.shape[-1], f"{name}.query"), head_count, f"{name}.query")
    key = heads(net, dense(net, x, x.shape[-1], f"{name}.key"), head_count, f"{name}.key", keys=True)
    value = heads(net, dense(net, x, x.shape[-1], f"{name}.value"), head_count, f"{name}.value")
    score = scores(net, query, key, f"{name}.attention")
    score = net.op("Add", f"{name}.attention.masked", [score, bias], score.shape)
    y = dense(net, attend(net, score, value, f"{name}.attention"), x.shape[-1], f"{name}.projection")
    x = layer_norm(net, add(net, y, x, f"{name}.attention.add"), f"{name}.attention.norm", 1e-12)
    y = gelu_erf(net, dense(net, x, 4 * x.shape[-1], f"{name}.expand"), f"{name}.gelu")
    y = dense(net, y, x.shape[-1], f"{name}.contract")
    return layer_norm(net, add(net, y, x, f"{name}.add"), "last_hidden_state" if last else f"{name}.norm", 1e-12)


def decoder(
    *,
    layers: int = 12,
    hidden: int = 768,
    head_count: int = 12,
    vocabulary: int = 50257,
    sequence: int = 128,
    batch: int = 1,
    weights: bool = True,
) -> onnx.ModelProto:
    """A causal decoder that reads a whole prompt; the defaults are GPT-2 small.

    Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, Sec. 2.3. The output layer shares the
    word embedding's weight. Input `input_ids` (int64), output `logits`.

    Args:
        layers: decoder layers.
        hidden: features; the feed-forward layer has four times as many.
        head_count: attention heads.
        vocabulary: rows of the word embedding; 1024 positions besides.
        sequence: tokens of a request, at most 1024.
        batch: sequences per request.
        weights: False leaves the weights without data.
    """
    net = Net("decoder_small" if (layers, hidden) == (12, 768) else f"decoder_{layers}_{hidden}", weights=weights)
    shape = (batch, sequence, hidden)
    words = table(net, vocabulary, hidden, "embedding.word")
    x = embedding(net, net.input("input_ids", (batch, sequence), TensorProto.INT64), shape, words)
    place = embedding(net, positions(net, sequence), (1, *shape[1:]), table(net, 1024, hidden, "embedding.position"))
    x = add(net, x, place, "embedding.placed")
    net.constant("causal", np.tril(np.ones((sequence, sequence), np.bool_))[None, None])
    for index in range(1, layers + 1):
        x = _decoder_layer(net, x, head_count, f"layer{index}")
    x = reshape(net, layer_norm(net, x, "norm", 1e-5), (batch * sequence, hidden), "head.rows")
    x = net.op("Gemm", "head", [x, words], (batch * sequence, vocabulary), transB=1)
    return net.output(reshape(net, x, (batch, sequence, vocabulary), "logits"))


def _decoder_layer(net: Net, x: Value, head_count: int, name: str) -> Value:
    """Causal self-attention and feed-forward, each normalized before and added to its input."""
    hidden = x.shape[-1]
    y = dense_gemm(net, layer_norm(net, x, f"{name}.attention.norm", 1e-5), 3 * hidden, f"{name}.qkv")
    thirds = [Value(f"{name}.{part}", x.shape) for part in ("query", "key", "value")]
    query, key, value = net.split_op(
        "Split", f"{name}.parts", [y, net.ints(f"{name}.sizes", [hidden] * 3)], thirds, axis=2
    )
    query = heads(net, query, head_count, f"{name}.query")
    key = heads(net, key, head_count, f"{name}.key", keys=True)
    value = heads(net, value, head_count, f"{name}.value")
    score = scores(net, query, key, f"{name}.attention")
    score = net.op("Where", f"{name}.attention.masked", ["causal", score, net.scalar("lowest", _LOWEST)], score.shape)
    y = dense_gemm(net, attend(net, score, value, f"{name}.attention"), hidden, f"{name}.projection")
    x = add(net, x, y, f"{name}.attention.add")
    y = dense_gemm(net, layer_norm(net, x, f"{name}.norm", 1e-5), 4 * hidden, f"{name}.expand")
    y = dense_gemm(net, gelu_tanh(net, y, f"{name}.gelu"), hidden, f"{name}.contract")
    return add(net, x, y, f"{name}.add")
