"""Random models around the patterns of every pass, and their near misses."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

from tests.properties import blocks_images as images
from tests.properties import blocks_rows as rows
from tests.properties import blocks_shapes as shapes
from tests.properties import blocks_written_out as written_out
from tests.properties.draft import Draft, Invalid
from tests.properties.twists import twisted

Block = Callable[[Draft, str], str]
ANY: tuple[Block, ...] = (*images.IMAGES, *rows.ROWS, *written_out.WRITTEN_OUT, *shapes.SHAPES)
THEMES: Mapping[str, tuple[Block, ...]] = {
    "constants": (shapes.constants,),
    "fold-constants": (shapes.constants, shapes.shape_arithmetic),
    "constant-if": (shapes.branch,),
    "identities": (shapes.nothing, shapes.casts, shapes.sliced, shapes.reshapes, rows.lstm),
    "split-einsum": (rows.einsum,),
    "shapes": (shapes.reshapes, shapes.transposes, shapes.sliced, shapes.parts),
    "common-subexpressions": (shapes.twice, shapes.constants),
    "move-transposes": (shapes.transposes, shapes.shifted, shapes.reduced),
    "absorb-transposes": (shapes.transposes, rows.transposed_product, rows.flat_product, images.conv),
    "fuse-composites": (*written_out.WRITTEN_OUT, rows.attention),
    "simplify-arithmetic": (written_out.division, written_out.layer_norm),
    "fuse-pad": (images.padded,),
    "fuse-batch-norm": (images.conv_norm, images.conv_transpose, rows.biased, images.batch_norm),
    "fuse-gemm": (rows.gemm, rows.biased, rows.transposed_product, rows.flat_product, rows.computed_product),
    "fuse-affine": (images.conv_affine, images.conv_transpose, rows.biased, images.arithmetic),
    "fuse-scales": (rows.scaled, rows.computed_product, rows.attention),
    "fuse-joined": (images.joined,),
    "fuse-linear-chain": (images.chain, rows.row_chain),
    "fuse-dead-channels": (images.dead_channels,),
    "channel-shuffles": (images.shuffle,),
    "fuse-activations": (written_out.clips, written_out.leaky, written_out.hard_swish, images.activation),
    "fuse-siblings": (images.siblings, rows.row_siblings),
    "fuse-concat": (images.ghost, images.joined, images.siblings, images.pool),
    "qdq": (shapes.quantized,),
    "dead-code": (images.excited, shapes.parts),
    "anything": ANY,
}
_IMAGE_SIZES = ((1, 4, 6, 6), (2, 4, 5, 7), (1, 3, 4, 4), (1, 8, 1, 1), (1, 1, 6, 4), (3, 2, 2, 2))
_ROW_SIZES = ((2, 3, 8), (1, 4, 8), (3, 4), (1, 8), (4, 4), (2, 2, 4, 8), (1, 1, 4, 4), (5,), (3, 1, 1), (0, 4))
_HEAD_SIZES = ((2, 2, 4, 8), (1, 4, 3, 2), (1, 1, 4, 4))
_HEADS = (written_out.rotary, written_out.group_norm)
_OPSETS = (17, 17, 22, 20, 13, 23, 11, 18, 12, 9, 10, 14, 15, 16, 19, 21, 8, 7)
_DTYPES = (np.float32,) * 7 + (np.float16, np.float64, np.int32)


@st.composite
def models(draw: Any, theme: str = "anything") -> onnx.ModelProto:
    """A model with patterns of a theme among others, changed here and there."""
    blocks = THEMES[theme]
    first = draw(st.sampled_from(blocks))
    sizes = _IMAGE_SIZES if first in images.IMAGES else _HEAD_SIZES if first in _HEADS else (*_ROW_SIZES, *_IMAGE_SIZES)
    size, dtype = draw(st.sampled_from(sizes)), draw(st.sampled_from(_DTYPES))
    draft = Draft(draw, draw(st.sampled_from(_OPSETS)), dtype, size)
    last = _one(draft, (first,), "x")
    for _ in range(draw(st.integers(0, 2))):
        last = _one(draft, blocks if draft.pick(True, False) else ANY, last)
    if draft.rarely():  # beside what is there
        _one(draft, blocks, draft.pick(*draft.values))
    return twisted(draft, last)


def _one(draft: Draft, blocks: tuple[Block, ...], x: str) -> str:
    """Put a block behind `x`; nothing where the blocks that are tried do not suit."""
    for _ in range(4):
        block, point = draft.pick(*blocks), draft.saved()
        try:
            made: str = block(draft, x)
            return made
        except (Invalid, ValueError, LookupError, ZeroDivisionError):
            draft.restore(point)
    return x
