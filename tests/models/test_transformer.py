"""The original transformer against torch.nn.Transformer with the same weights, and what it can do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers import ConfigError, InputError, TransformerConfig, TransformerForConditionalGeneration
from minitransformers.testing.weights import draw_weights

TOLERANCE = 1e-9


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def with_pytorch(model: TransformerForConditionalGeneration) -> nn.Transformer:
    """PyTorch's blocks with our weights, without the norm that it adds after the last one."""
    config: Any = model.config
    sizes = {"nhead": config.num_heads, "dim_feedforward": config.d_ff, "dropout": 0.0, "batch_first": True}
    theirs = nn.Transformer(
        config.d_model,
        config.num_heads,
        custom_encoder=nn.TransformerEncoder(
            nn.TransformerEncoderLayer(config.d_model, **sizes), config.num_layers, enable_nested_tensor=False
        ),
        custom_decoder=nn.TransformerDecoder(nn.TransformerDecoderLayer(config.d_model, **sizes), config.num_layers),
        batch_first=True,
    )
    for ours, layers in ((model.get_encoder(), theirs.encoder), (model.get_decoder(), theirs.decoder)):
        for block, layer in zip(ours.blocks, layers.layers, strict=True):
            parts = {"self_attn": block.self_attention}
            norms = [block.self_attention_norm, block.feed_forward_norm]
            if ours.is_decoder:
                parts["multihead_attn"] = block.cross_attention
                norms.insert(1, block.cross_attention_norm)
            for name, attention in parts.items():
                mine = getattr(layer, name)
                projections = (attention.query, attention.key, attention.value)
                copy(mine.in_proj_weight, torch.cat([p.weight for p in projections]))
                copy(mine.in_proj_bias, torch.cat([p.bias for p in projections]))
                mine.out_proj.load_state_dict(attention.output.state_dict())
            layer.linear1.load_state_dict(block.feed_forward.intermediate.state_dict())
            layer.linear2.load_state_dict(block.feed_forward.output.state_dict())
            for number, norm in enumerate(norms, 1):
                getattr(layer, f"norm{number}").load_state_dict(norm.state_dict())
    return theirs


@torch.no_grad()
def copy(parameter: Tensor, values: Tensor) -> None:
    parameter.copy_(values)


def waves(length: int, width: int) -> Tensor:
    """§3.5, number by number."""
    table = torch.zeros(length, width)
    for position in range(length):
        for feature in range(width):
            angle = position / 10000 ** (2 * (feature // 2) / width)
            table[position, feature] = math.sin(angle) if feature % 2 == 0 else math.cos(angle)
    return table


def small(seed: int = 0, **fields: Any) -> TransformerForConditionalGeneration:
    sizes = {"vocab_size": 13, "d_model": 12, "d_ff": 20, "num_layers": 2, "num_heads": 3, "dropout": 0.0}
    model = TransformerForConditionalGeneration(TransformerConfig(**{**sizes, **fields})).eval()
    return draw_weights(model, seed, scale=0.4)


@given(data=st.data())
def test_the_same_function_as_pytorchs(data: st.DataObject) -> None:
    """Logits, loss, and the gradient of the shared embedding; with padding on either side of the source."""
    heads = data.draw(st.integers(1, 3))
    width = 2 * heads * data.draw(st.integers(1, 4))
    fields = {"d_model": width, "num_heads": heads, "num_layers": data.draw(st.integers(1, 3))}
    model = small(data.draw(st.integers(0, 99)), **fields)
    kernel = data.draw(st.sampled_from(["eager", "sdpa"]))
    model.set_attn_implementation(kernel)
    theirs = with_pytorch(model)

    rows, source_length, target_length = (data.draw(st.integers(1, n)) for n in (3, 7, 7))
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    source = torch.randint(3, 13, (rows, source_length), generator=random)
    labels = torch.randint(3, 13, (rows, target_length), generator=random)
    real = torch.rand(rows, source_length, generator=random) < 0.7
    real[:, data.draw(st.sampled_from([0, -1]))] = True

    ours = model(source, attention_mask=real.long(), labels=labels)
    embedding = model.transformer.shared.weight
    target = torch.cat([torch.ones(rows, 1).long(), labels[:, :-1]], dim=1)
    embedded = [F.embedding(ids, embedding) * width**0.5 + waves(ids.shape[1], width) for ids in (source, target)]
    later = torch.ones(target_length, target_length).triu(1).bool()
    hidden = theirs(*embedded, tgt_mask=later, src_key_padding_mask=~real, memory_key_padding_mask=~real)
    logits = hidden @ embedding.T
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(ours.logits, logits, rtol=TOLERANCE, atol=TOLERANCE)
    torch.testing.assert_close(ours.loss, loss, rtol=TOLERANCE, atol=TOLERANCE)
    torch.testing.assert_close(
        *(torch.autograd.grad(value, embedding)[0] for value in (ours.loss, loss)), rtol=TOLERANCE, atol=TOLERANCE
    )


@pytest.mark.parametrize("mistake", ["scale of embeddings", "positions", "norm first"])
def test_the_comparison_notices(mistake: str) -> None:
    model, ids = small(), torch.tensor([[3, 4, 5]])
    before = model(ids, labels=ids).logits
    for part in (model.get_encoder(), model.get_decoder()):
        if mistake == "scale of embeddings":
            part.token_embedding = nn.Embedding.from_pretrained(part.token_embedding.weight / 12**0.5)
        elif mistake == "positions":
            part.positions.forward = lambda positions: waves(50, 12)[positions + 1]
        else:
            for block in part.blocks:
                block.pre_norm = True
    assert (model(ids, labels=ids).logits - before).abs().max() > 1e-3


def test_base_size() -> None:
    """Table 3 says 65 million; from the sizes that the paper gives, with a vocabulary of 37,000, it is 63.1."""
    with torch.device("meta"):
        model = TransformerForConditionalGeneration(TransformerConfig())
    embedding = 37_000 * 512
    attention, network, norm = 4 * (512 * 512 + 512), 512 * 2048 + 2048 + 2048 * 512 + 512, 2 * 512
    encoder, decoder = attention + network + 2 * norm, 2 * attention + network + 3 * norm
    assert model.num_parameters() == embedding + 6 * (encoder + decoder) == 63_082_496


def test_label_smoothing_is_of_training() -> None:
    model, ids = small(label_smoothing=0.2), torch.tensor([[3, 4, 5]])
    labels = torch.tensor([[3, 4, -100]])
    logits = model(ids, labels=labels).logits[0, :2]
    log_p = logits.log_softmax(dim=-1)
    plain = -log_p[[0, 1], [3, 4]].mean()
    torch.testing.assert_close(model(ids, labels=labels).loss, plain)
    smoothed = 0.8 * plain - 0.2 * log_p.mean(dim=-1).mean()
    torch.testing.assert_close(model.train()(ids, labels=labels).loss, smoothed)


@settings(max_examples=20)
@given(seed=st.integers(0, 99), data=st.data())
def test_the_cache_changes_nothing(seed: int, data: st.DataObject) -> None:
    model = small(seed)
    ids = torch.randint(3, 13, (2, 5), generator=torch.Generator().manual_seed(seed))
    how = data.draw(st.sampled_from([{}, {"num_beams": 3}, {"do_sample": True, "generator": seed}]))
    results = [model.generate(ids, max_new_tokens=6, use_cache=use_cache, **how) for use_cache in (True, False)]
    assert torch.equal(*results)
    assert (results[0][:, 0] == 1).all()


def test_save_and_load(tmp_path: Path) -> None:
    model, ids = small(), torch.tensor([[3, 4, 5]])
    model.save_pretrained(tmp_path)
    loaded, report = TransformerForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert loaded.lm_head.weight is loaded.transformer.shared.weight is loaded.get_encoder().token_embedding.weight
    assert torch.equal(loaded(ids, labels=ids).logits, model(ids, labels=ids).logits)


def test_bad_input() -> None:
    with pytest.raises(ConfigError, match="d_model=10 must be a multiple of num_heads=3"):
        TransformerConfig(d_model=10, num_heads=3)
    model = small()
    with pytest.raises(InputError, match="decoder_input_ids or decoder_inputs_embeds, or to a language model labels"):
        model(torch.tensor([[3, 4]]))
    with pytest.raises(InputError, match="decoder_input_ids holds 13, outside"):
        model(torch.tensor([[3, 4]]), decoder_input_ids=torch.tensor([[13]]))
    model.config.decoder_start_token_id = None
    with pytest.raises(InputError, match=r"config\.decoder_start_token_id, which is None: set it"):
        model(torch.tensor([[3, 4]]), labels=torch.tensor([[3, 4]]))
