"""Law 4: the fused kernel is the formula, for every bool mask, with bias, scale and upcast, empty rows included."""

import pytest
import torch
from families_of_laws import TEXT_CLASSES, each, takes
from hypothesis import given, strategies as st

from minitransformers.models.bart import BartForCausalLM
from minitransformers.nn.attention import KERNELS, MultiHeadAttention, eager_attention, fused_attention
from minitransformers.nn.masks import causal_mask
from minitransformers.testing import laws, strategies
from minitransformers.testing.comparing import assert_close, assert_gradients_close, named_tensors
from minitransformers.testing.families import CLASSES, WITH_CHOICES
from minitransformers.testing.weights import draw_weights

# Whose attention one mask of four dimensions says everything about: cross-attention has a mask of its own.
OF_ONE_TEXT = [m for m in TEXT_CLASSES if not takes(m, "decoder_input_ids") and m not in WITH_CHOICES]


@st.composite
def attention_inputs(draw, dtype=torch.float64, max_magnitude=30.0):
    """Query, key, value of any sizes; scores from flat to a single spike."""
    batch, heads, dim = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    query_length, key_length = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    value_dim = draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(draw(strategies.seeds()))
    magnitude = draw(st.sampled_from([m for m in (0.0, 0.1, 1.0, 5.0, 30.0) if m <= max_magnitude]))
    query, key, value = (
        torch.randn(batch, heads, length, width, generator=generator, dtype=torch.float64)
        for length, width in ((query_length, dim), (key_length, dim), (key_length, value_dim))
    )
    return (query * magnitude).to(dtype), key.to(dtype), value.to(dtype)


def masks_for(query, key):
    batch, heads, query_length, _ = query.shape
    return strategies.attention_masks(batch=batch, heads=heads, query=query_length, key=key.shape[2])


@st.composite
def bias_for(draw, query, key):
    batch, heads, query_length, _ = query.shape
    generator = torch.Generator().manual_seed(draw(strategies.seeds()))
    shape = (draw(st.sampled_from([1, batch])), draw(st.sampled_from([1, heads])), query_length, key.shape[2])
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(query.dtype)


@given(st.data())
def test_fused_is_eager_for_every_mask(data):
    query, key, value = data.draw(attention_inputs())
    mask = data.draw(st.none() | masks_for(query, key))
    bias = data.draw(st.none() | bias_for(query, key))
    laws.assert_kernels_agree(
        query,
        key,
        value,
        mask=mask,
        bias=bias,
        is_causal=data.draw(st.booleans()),
        scale=data.draw(st.sampled_from([None, 1.0, 0.3])),
        upcast=data.draw(st.booleans()),
    )


@given(st.data())
def test_the_kernels_agree_under_no_grad(data):
    """Without gradients PyTorch may choose another fused kernel."""
    query, key, value = data.draw(attention_inputs())
    options = {
        "mask": data.draw(st.none() | masks_for(query, key)),
        "bias": data.draw(st.none() | bias_for(query, key)),
        "is_causal": data.draw(st.booleans()),
    }
    with torch.no_grad():
        fused, eager = (attend(query, key, value, **options).output for attend in (fused_attention, eager_attention))
    assert_close(fused, eager)


@given(st.data())
def test_the_weights_are_an_average_and_the_output_is_theirs(data):
    query, key, value = data.draw(attention_inputs())
    mask = data.draw(masks_for(query, key))
    output, weights = eager_attention(query, key, value, mask=mask)
    assert weights.shape == (*query.shape[:3], key.shape[2])
    assert (weights >= 0).all()
    assert not weights.masked_select(~mask).any()
    assert_close(weights.sum(-1), mask.any(-1).expand(weights.shape[:3]).double())
    assert_close(weights @ value, output)
    assert fused_attention(query, key, value, mask=mask).weights is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@given(st.data())
def test_in_half_precision_both_are_as_near_to_the_formula_as_the_dtype_allows(dtype, data):
    """The formula in float64, on the same rounded numbers, decides; scores are kept small enough to be told apart."""
    query, key, value = data.draw(attention_inputs(dtype, max_magnitude=1.0))
    mask = data.draw(st.none() | masks_for(query, key))
    bias = data.draw(st.none() | bias_for(query, key))
    options = {"is_causal": data.draw(st.booleans()), "upcast": data.draw(st.booleans())}
    exact = eager_attention(
        query.double(), key.double(), value.double(), mask=mask, bias=None if bias is None else bias.double(), **options
    )
    for kernel in (eager_attention, fused_attention):
        output = kernel(query, key, value, mask=mask, bias=bias, **options).output
        assert output.dtype == dtype
        # Scores of up to about 16, rounded, are the exponents of the weights.
        assert_close(
            output.double(), exact.output, tolerance=16 * torch.finfo(dtype).eps, scale=float(value.abs().max())
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@given(st.data())
def test_an_empty_row_is_zero_and_finite_in_half_precision(dtype, data):
    query, key, value = (tensor.requires_grad_() for tensor in data.draw(attention_inputs(dtype)))
    mask = data.draw(masks_for(query, key))
    bias = data.draw(st.none() | bias_for(query, key))
    for kernel in (eager_attention, fused_attention):
        output = kernel(query, key, value, mask=mask, bias=bias).output
        assert not output.masked_select(~mask.any(-1, keepdim=True)).any()
        gradients = torch.autograd.grad(output.float().sum(), (query, key, value))
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert not gradients[0].masked_select(~mask.any(-1, keepdim=True)).any()


@given(st.data())
def test_scores_beyond_any_additive_mask_stay_forbidden(data):
    """A mask is a rule: however large a forbidden score is, it gets nothing (−1e5 added to 1e6 would not do)."""
    query, key, value = data.draw(attention_inputs())
    mask = data.draw(masks_for(query, key))
    bias = torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, 1e6)
    for kernel in (eager_attention, fused_attention):
        assert_close(
            kernel(query, key, value, mask=mask, bias=bias).output, kernel(query, key, value, mask=mask).output
        )


@given(st.data())
def test_without_keys_in_common_nothing_flows_back(data):
    """A forbidden key and its value get a gradient of exactly zero."""
    query, key, value = data.draw(attention_inputs())
    mask = data.draw(masks_for(query, key))
    for kernel in (eager_attention, fused_attention):
        leaves = [tensor.clone().requires_grad_() for tensor in (query, key, value)]
        output = kernel(*leaves, mask=mask).output
        gradients = torch.autograd.grad(output.sum(), leaves)
        seen = mask.expand(len(query), query.shape[1], -1, -1).any(dim=2)
        assert not gradients[1][~seen].any()
        assert not gradients[2][~seen].any()


@given(st.data())
def test_causality_of_both_kernels_is_aligned_to_the_lower_right(data):
    query, key, value = data.draw(attention_inputs())
    length, keys = query.shape[2], key.shape[2]
    for kernel in KERNELS.values():
        assert_close(
            kernel(query, key, value, is_causal=True).output,
            eager_attention(query, key, value, mask=causal_mask(length, keys)).output,
        )


# ---- in modules and models -------------------------------------------------------------------------------------------


@each(CLASSES)
@given(st.data())
def test_models_compute_the_same_with_either(classes, data):
    model = data.draw(strategies.tiny_models(*classes)).train(data.draw(st.booleans()))
    batch = data.draw(strategies.labelled_batches(model))
    laws.assert_implementations_agree(model, batch)


@pytest.mark.parametrize("families", [("bert", "gpt2"), None], ids=["bert and gpt2", "all"])
@given(st.data())
def test_models_compute_the_same_with_either_for_any_complete_mask(families, data):
    classes = [m for m in OF_ONE_TEXT if families is None or m.config_class.model_type in families]
    model = data.draw(strategies.tiny_models(*classes))
    model.train(data.draw(st.booleans()))
    ids = data.draw(strategies.token_ids())
    rows, length = ids.shape
    config = model.config
    heads = config.decoder_attention_heads if isinstance(model, BartForCausalLM) else config.num_attention_heads
    mask = data.draw(strategies.attention_masks(batch=rows, heads=heads, query=length, key=length))
    if data.draw(st.booleans()):
        generator = torch.Generator().manual_seed(data.draw(strategies.seeds()))
        numbers = torch.randn(mask.shape, generator=generator, dtype=torch.float64)
        mask = numbers.masked_fill(~mask, data.draw(st.sampled_from([-torch.inf, torch.finfo(torch.float64).min])))
    laws.assert_implementations_agree(model, {"input_ids": ids, "attention_mask": mask})


@each(m for m in TEXT_CLASSES if m.__name__.endswith(("Model", "ForMaskedLM", "ForCausalLM", "Generation")))
@given(st.data())
def test_a_row_of_nothing_but_padding_is_finite_everywhere(classes, data):
    """Of an encoder–decoder, a source of nothing but padding: the cross-attention has no keys."""
    model = data.draw(strategies.tiny_models(*classes)).train()
    batch = data.draw(strategies.labelled_batches(model, batch=2))
    batch["attention_mask"] = batch["attention_mask"].clone()
    batch["attention_mask"][0] = 0
    laws.assert_implementations_agree(model, batch)
    output = model(**batch)
    assert all(tensor.isfinite().all() for _, tensor in named_tensors(output))
    next(tensor for _, tensor in named_tensors(output)).sum().backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)


@each(CLASSES)
@given(st.data())
def test_asking_for_the_weights_changes_no_number(classes, data):
    model = data.draw(strategies.tiny_models(*classes)).train(data.draw(st.booleans()))
    model.set_attn_implementation("sdpa")
    batch = data.draw(strategies.labelled_batches(model))
    plain, asked = model(**batch), model(**batch, output_attentions=True)
    weights = [name for name in asked.keys() if name.endswith("attentions")]  # noqa: SIM118
    assert weights
    for name in weights:
        asked[name] = None
    assert_close(asked, plain)


@pytest.mark.parametrize("training", [True, False])
@given(st.data())
def test_multi_head_attention_gives_the_same_with_either(training, data):
    heads, length = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5))
    width = heads * data.draw(st.integers(1, 3))
    attention = MultiHeadAttention(width, heads, causal=data.draw(st.booleans())).double().train(training)
    draw_weights(attention, data.draw(strategies.seeds()), scale=0.5)
    generator = torch.Generator().manual_seed(data.draw(strategies.seeds()))
    hidden = torch.randn(2, length, width, generator=generator, dtype=torch.float64)
    mask = data.draw(st.none() | strategies.attention_masks(batch=2, heads=heads, query=length, key=length))
    results = []
    for kernel in KERNELS:
        output, _ = attention(hidden, mask=mask, kernel=kernel)
        gradients = torch.autograd.grad(output.square().sum(), list(attention.parameters()), allow_unused=True)
        results.append((output, dict(zip(dict(attention.named_parameters()), gradients, strict=True))))
    assert_close(results[1][0], results[0][0])
    assert_gradients_close(results[1][1], results[0][1])
