"""Laws that every transformer must obey, hypothesis strategies that draw models and batches, and checks for learners.

`laws`, `comparing` and `learning` need only PyTorch; `strategies` needs hypothesis, which the extra `test` installs:

    from hypothesis import given
    from minitransformers.testing import laws, strategies

    @given(model=strategies.tiny_decoders(), batch=strategies.token_batches(min_length=2))
    def test_no_peeking(model, batch):
        laws.assert_causal(model, batch["input_ids"], position=0)

The checks judge code that you wrote yourself, and name the likely cause of what is wrong: see `learning`.

    from minitransformers.testing import check_attention
    check_attention(my_attention)
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
