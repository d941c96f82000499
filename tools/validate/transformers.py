"""Readers of the HAT tables: encoder and decoder of translation Transformers, as fairseq runs them, op by op.

A sentence of 30 tokens, batch 1; the decoder makes 30 tokens, one after another, with keys and values of earlier tokens
cached. Averages over layers stand for every layer (Wang et al., arXiv:2005.14187, and its latency datasets). Small
operators bind: eager attention of that time is about 35 calls (three projections of three calls, views, transposes and
copies of queries, keys and values, scale, scores, softmax, context), a feed-forward block 12, all normalized and added.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from roofwright.cost_model import GraphModel, LoopNest
from roofwright.targets import Target, load_target, with_cores
from roofwright.tools.validate.base import Comparison, Reader, Result, Table
from roofwright.tools.validate.models import Calls
from roofwright.tools.validate.price import Priced, network_s

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


def _product(calls: Calls, m: int, n: int, k: int, times: int, *, copies: int = 1, weights: bool = True) -> None:
    """Product (m, k) x (k, n), `copies` at a time."""
    calls.nest(LoopNest(copies, 1, m, 1, n, k, in_h=m), times, weights=weights)


def _attention(calls: Calls, rows: int, keys: int, features: int, source: int, heads: int, times: int) -> None:
    """Projections of queries and output, and of keys and values from `source` features (0: projected before)."""
    _product(calls, rows, _QKV, features, times)
    if source:
        _product(calls, rows, 2 * _QKV, source, times)
    _product(calls, rows, keys, _QKV // heads, times, copies=heads, weights=False)
    _product(calls, rows, _QKV // heads, keys, times, copies=heads, weights=False)
    _product(calls, rows, features, _QKV, times)


def _feed_forward(calls: Calls, rows: int, features: int, hidden: int, times: int) -> None:
    _product(calls, rows, hidden, features, times)
    _product(calls, rows, features, hidden, times)


def encoder(row: Mapping[str, Any]) -> GraphModel:
    """All layers over the whole sentence at once."""
    calls, features, layers = Calls(), int(row["encoder_embed_dim"]), int(row["encoder_layer_num"])
    heads = max(1, round(row["encoder_self_attention_heads_avg"]))
    _attention(calls, _TOKENS, _TOKENS, features, features, heads, layers)
    _feed_forward(calls, _TOKENS, features, round(row["encoder_ffn_embed_dim_avg"]), layers)
    calls.lanes(_TOKENS * features, _TOKENS * features, _ENCODER_CALLS * layers)
    return calls.model


def decoder(row: Mapping[str, Any]) -> GraphModel:
    """Token by token; attention to the sentence may span several encoder layers."""
    calls, features = Calls(), int(row["decoder_embed_dim"])
    own = max(1, round(row["decoder_self_attention_heads_avg"]))
    cross = max(1, round(row["decoder_ende_attention_heads_avg"]))
    spanned = round(_TOKENS * row["decoder_arbitrary_ende_attn_avg"])
    times = int(row["decoder_layer_num"]) * _TOKENS
    _attention(calls, 1, _TOKENS // 2, features, features, own, times)
    _attention(calls, 1, spanned, features, 0, cross, times)
    _feed_forward(calls, 1, features, round(row["decoder_ffn_embed_dim_avg"]), times)
    calls.lanes(features, features, _DECODER_CALLS * times)
    _product(calls, 1, _VOCABULARY, features, _TOKENS)
    calls.lanes(features, features, _STEP_CALLS * _TOKENS)
    return calls.model


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
        priced = [network_s(build(row), target) for row in records]
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
