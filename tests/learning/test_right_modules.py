"""The modules of this library, of PyTorch and of transformers pass the checks that apply, through small adapters."""

import peft
import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional as F
from transformers.models.bert.modeling_bert import BertLayer, BertSelfAttention

import minitransformers
from minitransformers.data.language_modeling import replace_tokens, select_tokens
from minitransformers.data.pairs import next_sentence_pairs
from minitransformers.generation.processors import warpers
from minitransformers.nn.attention import eager_attention
from minitransformers.nn.blocks import EncoderBlock
from minitransformers.nn.masks import causal_mask, padding_mask
from minitransformers.testing import learning
from minitransformers.testing.learning.judging import CheckError
from minitransformers.tokenization.algorithms.byte_level_bpe import ByteLevelBPE
from minitransformers.tokenization.algorithms.wordpiece import WordPiece

NO_IDS = torch.zeros(2, 1, dtype=torch.long)  # the filters need none
TINY_BERT = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "attn_implementation": "eager"}
TINY_GPT = {"n_embd": 8, "n_head": 2, "n_layer": 2, "vocab_size": 11, "n_positions": 16}


def additive(mask):
    return None if mask is None else torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)


class Adapter(nn.Module):
    def __init__(self, inner, heads=2):
        super().__init__()
        self.inner, self.num_heads = inner, heads


class OfPyTorch(Adapter):
    def forward(self, x, mask=None):
        if mask is not None:  # True = hidden there
            mask = ~mask.expand(x.shape[0], self.num_heads, x.shape[1], x.shape[1]).flatten(0, 1)
        return self.inner(x, x, x, attn_mask=mask)


class OfTransformers(Adapter):
    def forward(self, x, mask=None):
        return self.inner(x, attention_mask=additive(mask))


class BlockOfPyTorch(Adapter):
    def forward(self, x, mask=None):
        return self.inner(x, src_key_padding_mask=None if mask is None else ~mask[:, 0, 0])


class BlockOfOurs(Adapter):
    def forward(self, x, mask=None):
        return self.inner(x, mask)


def ours(query, key, value, mask=None):
    mask = None if mask is None else mask[None, None]
    return eager_attention(query[:, None], key[:, None], value[:, None], mask=mask).output[:, 0]


def fused(query, key, value, mask=None):
    return F.scaled_dot_product_attention(query, key, value, mask)


def test_attention():
    torch.manual_seed(0)
    learning.check_attention(ours)
    learning.check_attention(fused)
    learning.check_attention(OfPyTorch(nn.MultiheadAttention(8, 2, batch_first=True)))
    learning.check_attention(OfTransformers(BertSelfAttention(transformers.BertConfig(**TINY_BERT))))


def test_masks():
    learning.check_masks(lambda queries, keys: causal_mask(queries, keys)[0, 0], padding_mask)


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_blocks(norm_first):
    torch.manual_seed(0)
    learning.check_encoder_block(BlockOfOurs(EncoderBlock(8, 2, 16, pre_norm=norm_first)), norm_first=norm_first)
    theirs = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
    learning.check_encoder_block(BlockOfPyTorch(theirs), norm_first=norm_first)
    with pytest.raises(CheckError, match="the norms are at the other place"):
        learning.check_encoder_block(BlockOfPyTorch(theirs), norm_first=not norm_first)


def test_encoder_block_of_transformers():
    torch.manual_seed(0)
    learning.check_encoder_block(OfTransformers(BertLayer(transformers.BertConfig(**TINY_BERT))))


def test_masking_of_tokens():
    def mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, generator):
        selected = select_tokens(~special_tokens_mask, 0.15, generator=generator)
        no_ids = torch.tensor([0])
        options = {"mask_token_id": mask_token_id, "vocab_size": vocab_size, "special_ids": no_ids}
        return replace_tokens(input_ids, selected, generator=generator, **options), torch.where(
            selected, input_ids, -100
        )

    learning.check_mlm_masking(mask_tokens)


def test_sentence_pairs():
    def make_pairs(documents, seed):
        flat = [sentence for document in documents for sentence in document]
        ids = {sentence: index for index, sentence in enumerate(flat)}
        as_ids = [[[ids[sentence]] for sentence in document] for document in documents]
        pairs = next_sentence_pairs(as_ids, max_length=2, short_sequence_probability=0.0, seed=seed)
        return [(flat[first[0]], flat[second[0]], label) for first, second, label in pairs]

    learning.check_next_sentence_pairs(make_pairs)


@pytest.mark.parametrize("library", [warpers, transformers])
def test_samplers(library):
    def sample(logits, temperature=1.0, top_k=None, top_p=None):
        logits = library.TemperatureLogitsWarper(temperature)(NO_IDS[: len(logits)], logits)
        if top_k is not None:
            logits = library.TopKLogitsWarper(top_k)(NO_IDS[: len(logits)], logits)
        return logits if top_p is None else library.TopPLogitsWarper(top_p)(NO_IDS[: len(logits)], logits)

    learning.check_sampler(sample)


@pytest.mark.parametrize("library", [minitransformers, transformers])
def test_caches(library):
    class Cache:
        def __init__(self):
            self.inner = library.DynamicCache()

        def update(self, key, value, layer=0):
            return self.inner.update(key, value, layer)

        def reorder(self, rows):
            self.inner.reorder_cache(rows)

    learning.check_cache(Cache)


def test_decoder():
    torch.manual_seed(0)
    learning.check_cache(minitransformers.GPT2LMHeadModel(minitransformers.GPT2Config(**TINY_GPT)))


def test_lora_of_peft():
    class Lora(nn.Module):
        def __init__(self, linear, rank, alpha):
            super().__init__()
            config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=["0"])
            self.inner = peft.get_peft_model(nn.Sequential(linear), config)

        def forward(self, x):
            return self.inner(x)

    learning.check_lora(Lora)


def test_words():
    learning.check_tokenizer(lambda word, merges: ByteLevelBPE([], merges).pieces(word))
    learning.check_tokenizer(lambda word, vocab: WordPiece(list(vocab)).pieces(word))


def test_byte_level_tokenizer_gives_every_text_back():
    learning.check_tokenizer(ByteLevelBPE.train(["hello world, hello Café"], 300))


# ---- calling ---------------------------------------------------------------------------------------------------------


def test_an_unknown_argument_is_named():
    with pytest.raises(CheckError, match="nothing is known to pass as 'flavour'") as caught:
        learning.check_attention(lambda query, key, value, mask, flavour: value)
    assert "attention(query, key, value" in caught.value.counterexample


def test_an_error_of_the_attempt_is_shown_with_the_signature():
    def fails(query, key, value):
        return query @ key

    with pytest.raises(CheckError, match="fails with RuntimeError") as caught:
        learning.check_attention(fails)
    assert caught.value.law == "It can be called."
    assert "attention(query, key, value" in caught.value.counterexample


def test_a_mask_without_a_default_is_always_passed():
    def attention(query, key, value, mask):
        return ours(query, key, value, mask)

    class Required(OfTransformers):
        def forward(self, x, mask):
            return super().forward(x, mask)

    learning.check_attention(attention)
    learning.check_attention(Required(BertSelfAttention(transformers.BertConfig(**TINY_BERT))))
    learning.check_encoder_block(Required(BertLayer(transformers.BertConfig(**TINY_BERT))))


def test_arguments_of_other_names_are_passed_in_order():
    learning.check_attention(lambda a, b, c: ours(a, b, c))


def test_a_mistake_that_is_not_known_is_called_unknown():
    with pytest.raises(CheckError) as caught:
        learning.check_attention(lambda query, key, value: ours(query, key, value) * 1.7)
    assert caught.value.cause.startswith("unknown")
    assert "1.700" in caught.value.counterexample


def test_the_module_keeps_its_mode():
    module = OfPyTorch(nn.MultiheadAttention(8, 2, batch_first=True))
    learning.check_attention(module)
    assert module.training
    assert module.inner.training
