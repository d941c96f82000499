"""Translation Transformers of the HAT latency tables."""

import pytest

from roofwright.cost_model import GraphModel, macs
from roofwright.tools.validate import transformers
from roofwright.tools.validate.base import Comparison, Score, read_one
from tests.shared import TRUTH, needs_truth

ROW = {
    "encoder_embed_dim": 512.0,
    "encoder_layer_num": 6.0,
    "encoder_ffn_embed_dim_avg": 2048.0,
    "encoder_self_attention_heads_avg": 8.0,
    "decoder_embed_dim": 512.0,
    "decoder_layer_num": 6.0,
    "decoder_ffn_embed_dim_avg": 2048.0,
    "decoder_self_attention_heads_avg": 8.0,
    "decoder_ende_attention_heads_avg": 8.0,
    "decoder_arbitrary_ende_attn_avg": 1.0,
}


@needs_truth
@pytest.mark.parametrize("name", transformers.READERS)
def test_decoders(name: str) -> None:
    results = read_one(TRUTH / name, transformers.READERS[name])
    scores = {c.kind: Score.of(c) for c in results if isinstance(c, Comparison)}
    assert scores["HAT decoder"].rank >= 0.95
    assert scores["HAT decoder"].median_error <= 0.15
    assert scores["HAT encoder"].median_error <= 0.25


def _weights(model: GraphModel, steps: int = 1) -> int:
    """Weights of all layers; a layer runs once per layer and step."""
    reads = [(entry.repeat // steps, operand) for entry in model.works for operand in entry.work.reads]
    return sum(layers * operand.elements for layers, operand in reads if operand.constant)


def test_parameters_of_the_base_transformer() -> None:
    # Vaswani et al., arXiv:1706.03762: base model of 65 M, 37000 shared embeddings of 512 among them
    matrices = 6 * (4 * 512 * 512 + 2 * 512 * 2048)
    assert _weights(transformers.encoder(ROW)) == matrices
    # decoder: attention to itself and (queries and output only) to the sentence, and the output projection
    assert _weights(transformers.decoder(ROW), 30) == matrices + 6 * 2 * 512 * 512 + 32_768 * 512


def test_a_decoder_runs_its_layers_for_every_token() -> None:
    deeper = {**ROW, "decoder_layer_num": 12.0}
    output = 30 * 32_768 * 512
    assert macs(transformers.decoder(deeper).works) - output == 2 * (macs(transformers.decoder(ROW).works) - output)
