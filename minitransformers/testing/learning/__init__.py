"""Judges of a learner's own code: each runs the laws that apply, and names the likely cause where one is broken.

    from minitransformers.testing import check_attention
    check_attention(my_attention)

Causes are found by trying: a plain implementation is run with each known mistake, and then with each two of them, until
it gives exactly what the learner's code gave. judging.py has what the checks share, and one file has one check.
"""

from minitransformers.testing.learning.attention import check_attention
from minitransformers.testing.learning.beams import check_beam_search
from minitransformers.testing.learning.cache import check_cache
from minitransformers.testing.learning.encoder_block import check_encoder_block
from minitransformers.testing.learning.judging import CheckError
from minitransformers.testing.learning.lora import check_lora
from minitransformers.testing.learning.masks import check_masks
from minitransformers.testing.learning.mlm import check_mlm_masking
from minitransformers.testing.learning.pairs import check_next_sentence_pairs
from minitransformers.testing.learning.sampler import check_sampler
from minitransformers.testing.learning.tokenizer import check_tokenizer

__all__ = [
    "CheckError",
    "check_attention",
    "check_beam_search",
    "check_cache",
    "check_encoder_block",
    "check_lora",
    "check_masks",
    "check_mlm_masking",
    "check_next_sentence_pairs",
    "check_sampler",
    "check_tokenizer",
]
