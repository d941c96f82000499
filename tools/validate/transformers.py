"""Readers of the HAT tables: encoder and decoder of translation Transformers, as fairseq runs them, op by op.

A sentence of 30 tokens, batch 1; the decoder makes 30 tokens, one after another, with keys and values of earlier tokens
cached. Averages over layers stand for every layer (Wang et al., arXiv:2005.14187, and its latency datasets). Small
operators bind: eager attention of that time is about 35 calls (three projections of three calls, views, transposes and
copies of queries, keys and values, scale, scores, softmax, context), a feed-forward block 12, all normalized and added.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from roofwright.targets import Target, load_target
from roofwright.tools.validate.base import Comparison, Reader, Result, Table
from roofwright.tools.validate.nets import Layer, Net
from roofwright.tools.validate.price import Priced, network_s, with_cores

_TOKENS = 30
_QKV = 512  # features of queries, keys and values, whatever the heads
_VOCABULARY = 32_768  # WMT'14 English-German
_XEON_CORES = 10  # E5-2640 v4
_ENCODER_CALLS = 41  # operators of a layer beside its products
_DECODER_CALLS = 60
_STEP_CALLS = 30  # embedding, positions, normalization, log-softmax, choice of the next token

_MACHINES: Mapping[str, tuple[str, str, int | None]] = {
    "hat_wmt14ende_cpu_xeon": ("haswell_e5_2699v3", "pytorch-eager-cpu", _XEON_CORES),
    "hat_wmt14ende_gpu_titanxp": ("titan_xp", "pytorch-eager", None),
}


def _attention(net: Net, rows: int, keys: int, features: int, source: int, heads: int, steps: int) -> None:
    """Projections of queries and output, and of keys and values from `source` features (0: projected before)."""
    net.matmul(rows, _QKV, features, weights=features * _QKV, steps=steps)
    if source:
        net.matmul(rows, 2 * _QKV, source, weights=2 * source * _QKV, steps=steps)
    net.matmul(rows, keys, _QKV // heads, copies=heads, steps=steps)
    net.matmul(rows, _QKV // heads, keys, copies=heads, steps=steps)
    net.matmul(rows, features, _QKV, weights=features * _QKV, steps=steps)


def _feed_forward(net: Net, rows: int, features: int, hidden: int, steps: int) -> None:
    net.matmul(rows, hidden, features, weights=features * hidden, steps=steps)
    net.matmul(rows, features, hidden, weights=features * hidden, steps=steps)


def _calls(net: Net, count: int, values: int, steps: int) -> None:
    """Elementwise operators, views among them, on so many values each."""
    net.layers += [Layer("call", None, values, values, 0, values, steps=steps)] * count


def encoder(row: Mapping[str, Any]) -> Net:
    """All layers over the whole sentence at once."""
    net, features = Net(), int(row["encoder_embed_dim"])
    heads = max(1, round(row["encoder_self_attention_heads_avg"]))
    for _ in range(int(row["encoder_layer_num"])):
        _attention(net, _TOKENS, _TOKENS, features, features, heads, 1)
        _feed_forward(net, _TOKENS, features, round(row["encoder_ffn_embed_dim_avg"]), 1)
        _calls(net, _ENCODER_CALLS, _TOKENS * features, 1)
    return net


def decoder(row: Mapping[str, Any]) -> Net:
    """Token by token; attention to the sentence may span several encoder layers."""
    net, features = Net(), int(row["decoder_embed_dim"])
    own = max(1, round(row["decoder_self_attention_heads_avg"]))
    cross = max(1, round(row["decoder_ende_attention_heads_avg"]))
    spanned = round(_TOKENS * row["decoder_arbitrary_ende_attn_avg"])
    for _ in range(int(row["decoder_layer_num"])):
        _attention(net, 1, _TOKENS // 2, features, features, own, _TOKENS)
        _attention(net, 1, spanned, features, 0, cross, _TOKENS)
        _feed_forward(net, 1, features, round(row["decoder_ffn_embed_dim_avg"]), _TOKENS)
        _calls(net, _DECODER_CALLS, features, _TOKENS)
    net.matmul(1, _VOCABULARY, features, weights=features * _VOCABULARY, steps=_TOKENS)
    _calls(net, _STEP_CALLS, features, _TOKENS)
    return net


def machine_of(table: str) -> Target:
    """The machine that a table was measured on."""
    name, stack, cores = _MACHINES[table]
    target = load_target(name, stack=stack)
    return with_cores(target, cores) if cores else target


def read_hat(table: Table) -> list[Result]:
    """Encoders and decoders apart."""
    parts = {"encoder": encoder, "decoder": decoder}
    table.require("encoder_embed_dim", *(f"latency_mean_{part}" for part in parts))
    target = machine_of(table.name)
    records = list(table.records())
    results: list[Result] = []
    for part, build in parts.items():
        priced = [network_s(build(row).layers, target, "float32") for row in records]
        measured = np.array([row[f"latency_mean_{part}"] for row in records], np.float64) / 1e3
        results.append(_comparison(table.name, target.name, part, records, priced, measured))
    return results


def _comparison(
    table: str, machine: str, part: str, records: list[dict[str, Any]], priced: list[Priced], measured: Any
) -> Comparison:
    shapes = (f"{part}_layer_num", f"{part}_embed_dim", f"{part}_ffn_embed_dim_avg")
    labels = tuple("{:.0f} layers of {:.0f}, feed-forward {:.0f}".format(*(row[s] for s in shapes)) for row in records)
    seconds, reasons = np.array([p.seconds for p in priced]), tuple(p.reason for p in priced)
    return Comparison(table, machine, f"HAT {part}", seconds, measured, labels, reasons)


READERS: dict[str, Reader] = {f"{name}.json": read_hat for name in _MACHINES}
