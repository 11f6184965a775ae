"""A law that cannot fail proves nothing: every law here fails on a module that breaks it, and on no other mistake's.

`Toy` is a decoder of one block that makes one mistake, or none.
"""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from minitransformers.errors import InputError
from minitransformers.files.checkpoint_names import CheckpointNames, former, stored
from minitransformers.models.gpt2 import GPT2Config, GPT2LMHeadModel
from minitransformers.nn.attention import AttentionOutput, MultiHeadAttention, eager_attention, fused_attention
from minitransformers.nn.cache import CacheLayer, DynamicCache
from minitransformers.nn.losses import causal_lm_loss
from minitransformers.nn.masks import causal_mask, padding_mask
from minitransformers.outputs import CausalLMOutputWithCrossAttentions
from minitransformers.testing import laws
from minitransformers.testing.weights import draw_weights

VOCAB_SIZE, WIDTH = 11, 8


class NeverForgets(DynamicCache):
    def crop(self, max_length):
        pass


class NeverReorders(DynamicCache):
    def reorder_cache(self, beam_idx, start=0):
        pass


class Toy(nn.Module):
    """Token and position embeddings, one causal attention, a tied head; `mistake` names what is wrong with it."""

    def __init__(self, mistake=""):
        super().__init__()
        self.mistake = mistake
        self.config = SimpleNamespace(vocab_size=VOCAB_SIZE, attn_implementation="sdpa")
        self.token_embedding = nn.Embedding(VOCAB_SIZE, WIDTH)
        self.position_embedding = nn.Embedding(32, WIDTH)
        self.attention = MultiHeadAttention(WIDTH, 2)
        self.head = nn.Linear(WIDTH, VOCAB_SIZE, bias=False)
        draw_weights(self.double(), seed=1, scale=0.5)
        with torch.no_grad():
            self.head.weight.copy_(self.token_embedding.weight)
        if mistake != "an untied copy":
            self.head.weight = self.token_embedding.weight

    def get_input_embeddings(self):
        return self.token_embedding

    def get_output_embeddings(self):
        return self.head

    def set_attn_implementation(self, name):
        self.config.attn_implementation = name

    def forward(
        self, input_ids, attention_mask=None, position_ids=None, past_key_values=None, use_cache=False, labels=None
    ):
        mistake = self.mistake
        cache = past_key_values
        if cache is None and use_cache:
            kinds = {"a crop that keeps": NeverForgets, "a reorder that keeps": NeverReorders}
            cache = kinds.get(mistake, DynamicCache)()
        past = 0 if cache is None else cache.get_seq_length()
        start = 0 if mistake == "positions that restart" else past
        if position_ids is None or mistake == "deaf to positions":
            position_ids = torch.arange(start, start + input_ids.shape[1])[None]
        hidden = self.token_embedding(input_ids) + self.position_embedding(position_ids)

        length = input_ids.shape[1]
        allowed = causal_mask(length, past + length)
        if mistake == "sees the future":
            allowed = torch.ones_like(allowed)
        if mistake == "an upper-left mask":
            allowed = causal_mask(past + length)[:, :, :length]
        if attention_mask is not None and mistake != "deaf to the mask":
            allowed = allowed & padding_mask(attention_mask)
        layer = None if cache is None else cache.self_layer(0)
        if mistake == "a cache that is replaced" and layer is not None:
            allowed = allowed[..., -length:]
            cache = DynamicCache()
            layer = cache.self_layer(0)
        kernel = self.config.attn_implementation
        attended, _ = self.attention(hidden, mask=allowed, cache=layer, kernel=kernel)
        if mistake == "another scale in sdpa" and kernel == "sdpa":
            attended = 0.9 * attended
        if mistake == "a detached cache" and layer is not None:
            layer._keys, layer._values = layer._keys.detach(), layer._values.detach()
        hidden = hidden + attended
        if mistake == "rows that leak":
            hidden = hidden + hidden.mean(dim=0, keepdim=True)
        if mistake == "a whisper between rows":
            hidden = hidden + 1e-6 * hidden.roll(1, dims=0)
        if mistake == "counts every row":
            hidden = hidden * hidden.shape[0]
        if mistake == "a mean over positions":
            hidden = hidden - hidden.mean(dim=1, keepdim=True)
        if mistake == "the padding token everywhere":
            hidden = hidden + self.token_embedding.weight[0]
        logits = self.head(hidden)
        loss = None
        if labels is not None:
            loss = causal_lm_loss(logits, labels.clamp(min=0) if mistake == "learns the padding" else labels)
        return CausalLMOutputWithCrossAttentions(loss, logits, cache if use_cache else None)


IDS = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [3, 3, 9, 1, 2]])
RIGHT = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
LEFT = RIGHT.flip(1)
PADDED = {"input_ids": IDS * RIGHT, "attention_mask": RIGHT, "labels": (IDS * RIGHT).masked_fill(RIGHT == 0, -100)}
LABELLED = LEFT * torch.nn.functional.pad(LEFT[:, :-1], (1, 0))  # all but the first token of each text
PADDED_LEFT = {"input_ids": IDS * LEFT, "attention_mask": LEFT, "labels": IDS.masked_fill(LABELLED == 0, -100)}

LAWS = {
    "causal": lambda toy: laws.assert_causal(toy, IDS, 2),
    "rows": lambda toy: laws.assert_rows_independent(toy, PADDED),
    "rows in order": lambda toy: laws.assert_rows_independent(toy, PADDED, order=[1, 2, 0]),
    "right padding": lambda toy: laws.assert_padding_invariant(toy, PADDED, 3),
    "left padding": lambda toy: laws.assert_padding_invariant(toy, PADDED_LEFT, 3, side="left"),
    "cache": lambda toy: laws.assert_cache_consistent(toy, IDS, [1, 3]),
    "cache with padding": lambda toy: laws.assert_cache_consistent(toy, IDS, [3], attention_mask=LEFT),
    "crop": lambda toy: laws.assert_cache_crops(toy, IDS, 2),
    "reorder": lambda toy: laws.assert_cache_reorders(toy, IDS, [2, 0, 0], 3),
    "cache gradient": lambda toy: laws.assert_cache_differentiable(toy, IDS, [2]),
    "kernels": lambda toy: laws.assert_implementations_agree(toy, PADDED),
    "tied": laws.assert_tied,
    "tied by name": lambda toy: laws.assert_tied(toy, "head.weight", "token_embedding.weight"),
}
CAUGHT = [
    ("sees the future", "causal"),
    ("a mean over positions", "causal"),
    ("rows that leak", "rows"),
    ("a whisper between rows", "rows"),
    ("a whisper between rows", "rows in order"),
    ("counts every row", "rows"),
    ("deaf to the mask", "left padding"),
    ("a mean over positions", "right padding"),
    ("learns the padding", "right padding"),
    ("deaf to positions", "left padding"),
    ("learns the padding", "left padding"),
    ("an upper-left mask", "cache"),
    ("an upper-left mask", "cache with padding"),
    ("a cache that is replaced", "cache"),
    ("positions that restart", "cache"),
    ("a crop that keeps", "crop"),
    ("a reorder that keeps", "reorder"),
    ("a detached cache", "cache gradient"),
    ("another scale in sdpa", "kernels"),
    ("an untied copy", "tied"),
    ("an untied copy", "tied by name"),
]


@pytest.mark.parametrize("law", LAWS)
def test_a_toy_without_a_mistake_obeys(law):
    LAWS[law](Toy())


@pytest.mark.parametrize(("mistake", "law"), CAUGHT)
def test_a_mistake_is_caught(mistake, law):
    with pytest.raises(AssertionError):
        LAWS[law](Toy(mistake))


def test_padding_on_the_left_must_not_be_asked_for_the_first_token():
    labelled = {**PADDED_LEFT, "labels": IDS.masked_fill(LEFT == 0, -100)}
    with pytest.raises(AssertionError, match="loss"):
        laws.assert_padding_invariant(Toy(), labelled, 3, side="left")


def test_every_law_of_the_list_catches_something():
    assert {law for _, law in CAUGHT} == LAWS.keys()


@pytest.mark.parametrize(
    ("mistake", "law"),
    [
        ("a detached cache", "cache"),  # right numbers, wrong gradient
        ("an untied copy", "cache"),
        ("a crop that keeps", "reorder"),
        ("learns the padding", "rows"),
    ],
)
def test_a_law_says_nothing_of_other_mistakes(mistake, law):
    LAWS[law](Toy(mistake))


# ---- laws of modules that take vectors -------------------------------------------------------------------------------


def test_causality_of_a_module_of_vectors():
    hidden = torch.randn(2, 5, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    causal = MultiHeadAttention(WIDTH, 2, causal=True).double()
    laws.assert_causal(causal, hidden, 2)
    with pytest.raises(AssertionError, match="up to position 2"):
        laws.assert_causal(MultiHeadAttention(WIDTH, 2).double(), hidden, 2)


def test_permutation_equivariance():
    hidden = torch.randn(2, 5, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    order = [2, 0, 4, 1, 3]
    laws.assert_permutation_equivariant(MultiHeadAttention(WIDTH, 2).double(), hidden, order)
    with pytest.raises(AssertionError, match="permuted"):
        laws.assert_permutation_equivariant(MultiHeadAttention(WIDTH, 2, causal=True).double(), hidden, order)
    with pytest.raises(AssertionError, match="permuted"):
        laws.assert_permutation_equivariant(lambda x: x + torch.arange(5.0)[:, None].double(), hidden, order)


# ---- kernels ---------------------------------------------------------------------------------------------------------


def _upper_left(query, key, value, *, mask=None, is_causal=False, **options):
    if is_causal:
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()[None, None]
    return fused_attention(query, key, value, mask=mask, **options)


def _infinities(query, key, value, *, mask=None, bias=None, is_causal=False, scale=None):
    scores = query @ key.transpose(-1, -2) * (scale or query.shape[-1] ** -0.5)
    scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
    return AttentionOutput(scores.softmax(-1) @ value, None)


def _uniform_where_empty(query, key, value, *, mask=None, bias=None, is_causal=False, scale=None):
    scores = query @ key.transpose(-1, -2) * (scale or query.shape[-1] ** -0.5)
    scores = scores if mask is None else scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return AttentionOutput(scores.softmax(-1) @ value, None)


def _without_gradient_of_key(query, key, value, **options):
    return eager_attention(query, key.detach() + 0 * key, value, **options)


def _deaf_to_scale(query, key, value, *, scale=None, **options):
    return eager_attention(query, key, value, **options)


EMPTY_ROW = torch.tensor([[True, True, True], [False, False, False]])[None, None]


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        (_upper_left, {"is_causal": True}),
        (_infinities, {"mask": EMPTY_ROW}),
        (_uniform_where_empty, {"mask": EMPTY_ROW}),
        (_without_gradient_of_key, {}),
        (_deaf_to_scale, {"scale": 1.0}),
    ],
)
def test_a_wrong_kernel_is_caught(kernel, options):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 2, n, 4, generator=generator, dtype=torch.float64) for n in (2, 3, 3))
    laws.assert_kernels_agree(query, key, value, **options)
    with pytest.raises(AssertionError):
        laws.assert_kernels_agree(query, key, value, kernel=kernel, **options)


# ---- weights ---------------------------------------------------------------------------------------------------------


def test_entries_that_matter_are_caught():
    batch = {"input_ids": IDS % 7 + 1}  # tokens 1 … 7
    embedding = nn.Sequential(nn.Embedding(VOCAB_SIZE, WIDTH))
    laws.assert_unused_parameters_do_not_matter(lambda_of(embedding), batch, "0.weight", slice(8, None))
    with pytest.raises(AssertionError, match="gradient"):
        laws.assert_unused_parameters_do_not_matter(lambda_of(embedding), batch, "0.weight", 1)


def test_the_padding_token_matters_to_a_model_that_looks_at_it():
    batch = {"input_ids": IDS * RIGHT, "attention_mask": RIGHT}
    good, bad = Toy("an untied copy"), Toy("the padding token everywhere")
    laws.assert_unused_parameters_do_not_matter(good, batch, "token_embedding.weight", 0)
    with pytest.raises(AssertionError):
        laws.assert_unused_parameters_do_not_matter(bad, batch, "token_embedding.weight", 0)
    with pytest.raises(AssertionError):  # of the head, every row matters
        laws.assert_unused_parameters_do_not_matter(good, batch, "head.weight", 0)


def test_what_has_no_gradient_but_matters_is_caught_and_the_parameter_is_given_back():
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, input_ids):
            return self.weight.detach() * input_ids + 0 * self.weight

    module = Detached()
    with pytest.raises(AssertionError, match="after entries of weight changed"):
        laws.assert_unused_parameters_do_not_matter(module, {"input_ids": torch.ones(2, 3)}, "weight", 0)
    assert torch.equal(module.weight, torch.ones(3))


def lambda_of(sequential):
    """A module whose forward has the argument that laws pass."""

    class Named(nn.Sequential):
        def forward(self, input_ids):
            return super().forward(input_ids)

    return Named(*sequential)


class SavesHalf(GPT2LMHeadModel):
    def save_pretrained(self, save_directory, **options):
        kept = self.lm_head.weight.detach().clone()
        self.lm_head.weight.data = kept.half().to(kept.dtype)
        super().save_pretrained(save_directory, **options)
        self.lm_head.weight.data = kept


class LoadsUntied(GPT2LMHeadModel):
    def _note_untied(self):
        self.lm_head.weight = nn.Parameter(self.lm_head.weight.detach().clone())


class LoadsAnotherConfig(GPT2LMHeadModel):
    def _note_untied(self):
        self.config.layer_norm_epsilon = 1.0


class LeavesOutANorm(GPT2LMHeadModel):
    optional_weights = (".ln_f.",)

    def hf_state_dict(self):
        return {}

    def save_pretrained(self, save_directory, **options):
        norm, self.transformer.ln_f = self.transformer.ln_f, nn.Identity()
        super().save_pretrained(save_directory, **options)
        self.transformer.ln_f = norm


TINY = {"vocab_size": 9, "n_embd": 4, "n_layer": 1, "n_head": 2, "n_positions": 6, "bos_token_id": 1, "eos_token_id": 1}


@pytest.mark.parametrize("model_class", [SavesHalf, LoadsUntied, LoadsAnotherConfig, LeavesOutANorm])
def test_a_model_that_is_not_loaded_as_it_was_saved_is_caught(model_class, tmp_path):
    batch = {"input_ids": torch.tensor([[1, 2, 3]])}
    laws.assert_saved_and_loaded_equal(draw_weights(GPT2LMHeadModel(GPT2Config(**TINY)), 0), tmp_path, batch)
    with pytest.raises(AssertionError):
        laws.assert_saved_and_loaded_equal(draw_weights(model_class(GPT2Config(**TINY)), 0), tmp_path, batch)


@pytest.mark.parametrize(
    "rules",
    [
        # Two modules under one name in files
        [stored("a.{kind}", "x.{kind}"), stored("a.{kind}", "y.{kind}")],
        # Written under the name of another module
        [stored("y.weight", "x.weight")],
        # Written under a name that is read as that of another module
        [former("a.{kind}", "b.{kind}"), stored("a.weight", "x.weight")],
        [former("x.{kind}", "y.{kind}")],
    ],
)
def test_a_table_that_does_not_lead_back_is_caught(rules):
    names = ["x.weight", "y.weight", "z.weight"]
    laws.assert_names_bijective(CheckpointNames(stored("a.{kind}", "x.{kind}"), base="base"), names)
    with pytest.raises(AssertionError):
        laws.assert_names_bijective(CheckpointNames(*rules, base="base"), names)


# ---- arguments that make no law --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("law", "message"),
    [
        (lambda toy: laws.assert_causal(toy, IDS, 4), "position=4 must be one of 0 … 3"),
        (lambda toy: laws.assert_cache_consistent(toy, IDS, [3, 3]), "must ascend"),
        (lambda toy: laws.assert_cache_consistent(toy, IDS, [5]), "between 1 and 4"),
        (lambda toy: laws.assert_padding_invariant(toy, PADDED, 0), "amount=0"),
        (lambda toy: laws.assert_padding_invariant(toy, PADDED, 1, side="top"), "side='top'"),
        (lambda toy: laws.assert_causal(lambda input_ids: torch.zeros(3, 7), IDS, 1, vocab_size=3), "for each token"),
    ],
)
def test_an_argument_that_would_compare_nothing_is_an_error(law, message):
    with pytest.raises(InputError, match=message):
        law(Toy())


def test_the_cache_of_the_toys_is_the_librarys():
    assert isinstance(Toy()(IDS, use_cache=True).past_key_values.layers[0], CacheLayer)
