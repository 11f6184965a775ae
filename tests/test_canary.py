"""The run-time check of shapes is on: a wrong shape, given to one part of every module that states shapes, is refused.

Without this, the check could be off for the whole run, or for one sub-package, and no test would notice.
"""

import importlib
import pkgutil

import jaxtyping
import pytest
import torch

import minitransformers
from minitransformers.data import corrupt_spans, restarting_positions, select_tokens
from minitransformers.generation import RepetitionPenaltyLogitsProcessor
from minitransformers.nn.attention import MultiHeadAttention, eager_attention, fused_attention, split_heads
from minitransformers.nn.blocks import DecoderBlock, EncoderBlock
from minitransformers.nn.cache import CacheLayer
from minitransformers.nn.feed_forward import FeedForward, gelu_formula
from minitransformers.nn.linear_cross_entropy import linear_cross_entropy
from minitransformers.nn.losses import causal_lm_loss, span_loss, token_cross_entropy
from minitransformers.nn.masks import causal_mask, document_mask, padding_mask
from minitransformers.nn.normalization import layer_norm
from minitransformers.nn.packed import packed_attention
from minitransformers.nn.patches import cut_into_patches
from minitransformers.nn.positions import SinusoidalPositions, positions_from_mask
from minitransformers.nn.selection import keep_positions, last_token_positions
from minitransformers.nn.static_cache import StaticLayer
from minitransformers.testing.laws import assert_kernels_agree

BATCH, LENGTH, WIDTH = 2, 3, 4


def floats(*shape):
    return torch.zeros(shape)


def whole(*shape):
    return torch.zeros(shape, dtype=torch.long)


def truths(*shape):
    return torch.ones(shape, dtype=torch.bool)


HIDDEN = floats(BATCH, LENGTH, WIDTH)
PER_HEAD = floats(BATCH, 2, LENGTH, WIDTH)

# Each is right but for one length, one dimension or one type.
WRONG = {
    "nn.attention: key and value of different lengths": lambda: eager_attention(
        PER_HEAD, PER_HEAD, floats(BATCH, 2, LENGTH + 1, WIDTH)
    ),
    "nn.attention: a mask of numbers": lambda: fused_attention(PER_HEAD, PER_HEAD, PER_HEAD, mask=floats(1, 1, 3, 3)),
    "nn.attention: no dimension of the batch": lambda: MultiHeadAttention(WIDTH, 2)(floats(LENGTH, WIDTH)),
    "nn.attention: heads split twice": lambda: split_heads(PER_HEAD, 2),
    "nn.blocks: a mask of another length": lambda: EncoderBlock(WIDTH, 2, 5)(
        HIDDEN, torch.ones(1, 1, LENGTH, LENGTH + 1, dtype=torch.bool)
    ),
    "nn.blocks: ids in place of vectors": lambda: DecoderBlock(WIDTH, 2, 5)(whole(BATCH, LENGTH)),
    "nn.cache: a value of another length": lambda: CacheLayer().update(PER_HEAD, PER_HEAD[:, :, 1:]),
    "nn.feed_forward: whole numbers": lambda: FeedForward(WIDTH, 5)(whole(BATCH, LENGTH, WIDTH)),
    "nn.feed_forward: a formula of whole numbers": lambda: gelu_formula(whole(2)),
    "nn.selection: one vector in place of a sequence": lambda: keep_positions(floats(BATCH, WIDTH), 1),
    "nn.selection: one text in place of a batch": lambda: last_token_positions(whole(LENGTH), 0),
    "nn.linear_cross_entropy: a batch in place of its tokens": lambda: linear_cross_entropy(
        HIDDEN, floats(9, WIDTH), None, whole(LENGTH)
    ),
    "nn.losses: labels of another length": lambda: token_cross_entropy(
        floats(BATCH, LENGTH, 9), whole(BATCH, LENGTH + 1)
    ),
    "nn.losses: labels of another batch": lambda: causal_lm_loss(floats(BATCH, LENGTH, 9), whole(BATCH + 1, LENGTH)),
    "nn.losses: ends of another length": lambda: span_loss(floats(2, 3), floats(2, 4), whole(2), whole(2)),
    "nn.static_cache: a value of another length": lambda: StaticLayer(8).update(PER_HEAD, PER_HEAD[:, :, 1:]),
    "nn.packed: one text in place of a row": lambda: packed_attention(
        PER_HEAD[0], PER_HEAD[0], PER_HEAD[0], lengths=[LENGTH]
    ),
    "nn.masks: three dimensions": lambda: padding_mask(floats(BATCH, LENGTH, 1)),
    "nn.masks: documents as numbers with a fraction": lambda: document_mask(floats(BATCH, LENGTH)),
    "nn.masks: a length with a fraction": lambda: causal_mask(2.5),
    "nn.normalization: a weight of another width": lambda: layer_norm(HIDDEN, floats(WIDTH + 1), floats(WIDTH), 1e-5),
    "nn.patches: an image in place of a batch": lambda: cut_into_patches(floats(3, 4, 4), (2, 2)),
    "nn.positions: one text in place of a batch": lambda: SinusoidalPositions(WIDTH)(whole(LENGTH)),
    "nn.positions: a mask of numbers with a fraction": lambda: positions_from_mask(floats(BATCH, LENGTH)),
    "generation: scores without a batch": lambda: RepetitionPenaltyLogitsProcessor(2.0)(
        whole(BATCH, LENGTH), floats(9)
    ),
    "data.language_modeling: one text in place of a batch": lambda: select_tokens(truths(LENGTH), 0.5),
    "data.language_modeling: words of another length": lambda: select_tokens(
        truths(BATCH, LENGTH), 0.5, word_ids=whole(BATCH, LENGTH + 1)
    ),
    "data.packing: a batch in place of a row": lambda: restarting_positions(whole(1, 1), 4, 2),
    "data.spans: noise of another length": lambda: corrupt_spans(whole(LENGTH), truths(LENGTH + 1), [9, 8]),
    "testing.laws: a key of another width": lambda: assert_kernels_agree(PER_HEAD, PER_HEAD[..., :2], PER_HEAD),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_shape_is_refused(case):
    with pytest.raises(jaxtyping.TypeCheckError):
        WRONG[case]()


def test_the_right_shapes_are_not():
    """So that the cases above fail for what is wrong in them."""
    eager_attention(PER_HEAD, PER_HEAD, PER_HEAD, mask=torch.ones(1, 1, 3, 3, dtype=torch.bool))
    MultiHeadAttention(WIDTH, 2)(HIDDEN)
    split_heads(HIDDEN, 2)
    EncoderBlock(WIDTH, 2, 5)(HIDDEN, torch.ones(1, 1, LENGTH, LENGTH, dtype=torch.bool))
    DecoderBlock(WIDTH, 2, 5)(HIDDEN)
    CacheLayer().update(PER_HEAD, PER_HEAD)
    FeedForward(WIDTH, 5)(HIDDEN)
    gelu_formula(floats(2))
    keep_positions(HIDDEN, 1)
    last_token_positions(whole(BATCH, LENGTH), 0)
    token_cross_entropy(floats(BATCH, LENGTH, 9), whole(BATCH, LENGTH))
    causal_lm_loss(floats(BATCH, LENGTH, 9), whole(BATCH, LENGTH))
    span_loss(floats(2, 3), floats(2, 3), whole(2), whole(2))
    padding_mask(floats(BATCH, LENGTH))
    document_mask(whole(BATCH, LENGTH))
    causal_mask(2)
    layer_norm(HIDDEN, floats(WIDTH), floats(WIDTH), 1e-5)
    SinusoidalPositions(WIDTH)(whole(BATCH, LENGTH))
    positions_from_mask(whole(BATCH, LENGTH))
    cut_into_patches(floats(BATCH, 3, 4, 4), (2, 2))
    RepetitionPenaltyLogitsProcessor(2.0)(whole(BATCH, LENGTH), floats(BATCH, 9))
    select_tokens(truths(BATCH, LENGTH), 0.5, word_ids=whole(BATCH, LENGTH))
    restarting_positions(whole(1), 4, 2)
    corrupt_spans(whole(LENGTH), truths(LENGTH), [9, 8])
    assert_kernels_agree(PER_HEAD.double(), PER_HEAD.double(), PER_HEAD.double())


def test_every_module_of_bricks_has_a_case():
    bricks = importlib.import_module("minitransformers.nn")
    modules = {f"nn.{module.name}" for module in pkgutil.iter_modules(bricks.__path__)}
    modules -= {"nn.cache_interface", "nn.cache_pytree"}  # where no shape is named
    assert modules == {case.split(":")[0] for case in WRONG if case.startswith("nn.")}


def test_the_check_is_on_in_the_package_as_a_whole():
    """A plain function without shapes is checked too, by its types."""
    with pytest.raises(jaxtyping.TypeCheckError):
        minitransformers.configs.config.read_config_file("not a Path")
