"""Judges of a learner's own code: each runs the laws that apply, and names the likely cause where one is broken.

    from minitransformers.testing import check_attention
    check_attention(my_attention)

Causes are found by trying: a plain implementation is run with each known mistake, and then with each two of them, until
it gives exactly what the learner's code gave. judging.py has what the checks share, and one file has one check.
"""

from minitransformers.testing.learning.attention import check_attention
from minitransformers.testing.learning.beams import check_beam_search
from minitransformers.testing.learning.bert_embeddings import check_bert_embeddings
from minitransformers.testing.learning.bert_heads import check_masked_lm_head, check_pooler
from minitransformers.testing.learning.cache import check_cache
from minitransformers.testing.learning.embeddings import check_embeddings
from minitransformers.testing.learning.encoder_block import check_encoder_block
from minitransformers.testing.learning.feed_forward import check_feed_forward
from minitransformers.testing.learning.gpt import check_causal_block, check_gpt
from minitransformers.testing.learning.judging import CheckError
from minitransformers.testing.learning.lora import check_lora
from minitransformers.testing.learning.losses import check_causal_loss, check_pretraining_loss
from minitransformers.testing.learning.masks import check_masks
from minitransformers.testing.learning.mlm import check_mlm_masking
from minitransformers.testing.learning.norm import check_norm
from minitransformers.testing.learning.pairs import check_next_sentence_pairs
from minitransformers.testing.learning.patches import check_image_embeddings, check_patches
from minitransformers.testing.learning.positions import check_positions
from minitransformers.testing.learning.sampler import check_sampler
from minitransformers.testing.learning.tokenizer import check_tokenizer
from minitransformers.testing.learning.training import check_schedule, check_training_loop

__all__ = [
    "CheckError",
    "check_attention",
    "check_beam_search",
    "check_bert_embeddings",
    "check_cache",
    "check_causal_block",
    "check_causal_loss",
    "check_embeddings",
    "check_encoder_block",
    "check_feed_forward",
    "check_gpt",
    "check_image_embeddings",
    "check_lora",
    "check_masked_lm_head",
    "check_masks",
    "check_mlm_masking",
    "check_next_sentence_pairs",
    "check_norm",
    "check_patches",
    "check_pooler",
    "check_positions",
    "check_pretraining_loss",
    "check_sampler",
    "check_schedule",
    "check_tokenizer",
    "check_training_loop",
]
