"""Every class of every family, once each: copies, checkpointing, resizing, hooks, gradients of rows, bad input.

What BERT and GPT-2 have been shown in detail is shown here to hold for those that inherit from them, and for those that
do not. The laws, on what hypothesis draws, are in tests/laws.
"""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

import minitransformers as mt
from minitransformers.errors import InputError, UnknownArgumentError
from minitransformers.models.base.checkpointing import GradientCheckpointingLayer
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.testing.comparing import assert_close, assert_gradients_close
from minitransformers.testing.examples import example_batch, tiny_model
from minitransformers.testing.families import CLASSES, OF_IMAGES, VOCAB_SIZE, small_fields

SCORING_TOKENS = [model for model in CLASSES if tiny_model(model).get_output_embeddings() is not None]
each_class = pytest.mark.parametrize("model_class", CLASSES, ids=lambda model: model.__name__)


def loss_of(output: Any) -> Tensor:
    """Everything that there is a loss of, or a number made of the first output."""
    losses = [output[name] for name in ("loss", "mc_loss") if output.get(name) is not None]
    return sum(losses) if losses else output[0].square().sum()  # type: ignore[return-value]


def scores(output: Any) -> Tensor:
    """Of tokens."""
    return output.prediction_logits if "prediction_logits" in output else output.logits  # type: ignore[no-any-return]


def gradients(model: nn.Module) -> dict[str, Tensor | None]:
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def through_torch_save(model: nn.Module) -> Any:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)


def through_state_dict(model: Any) -> Any:
    other = tiny_model(type(model), seed=99)
    assert not any(other.load_state_dict(copy.deepcopy(model.state_dict())))
    return other


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": through_torch_save,
    "state_dict": through_state_dict,
}


@each_class
def test_copies_compute_the_same_and_share_nothing(model_class: type[PreTrainedModel]) -> None:
    model = tiny_model(model_class)
    batch = example_batch(model)
    expected = model(**batch)
    copies = {name: copied(model) for name, copied in COPIES.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    for duplicate in copies.values():
        assert type(duplicate) is model_class
        assert duplicate.config == model.config
        assert duplicate.config is not model.config
        assert not duplicate.training
        assert_close(duplicate(**batch), expected, tolerance=0.0)


@each_class
def test_gradient_checkpointing_keeps_less_and_gives_the_same_gradients(model_class: type[PreTrainedModel]) -> None:
    model = tiny_model(model_class, num_hidden_layers=4).train()
    batch = example_batch(model)
    found, kept = [], []
    for enabled in (False, True):
        if enabled:
            model.gradient_checkpointing_enable()
        assert model.is_activation_checkpointing == enabled
        model.zero_grad()
        numbers: dict[int, Tensor] = {}

        def keep(tensor: Tensor, numbers: dict[int, Tensor] = numbers) -> Tensor:
            numbers[tensor.data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = model(**batch)
            loss = loss_of(output)
        loss.backward()
        found.append({"loss": loss.detach(), **gradients(model)})
        kept.append(sum(tensor.numel() for tensor in numbers.values()))
    assert output.get("past_key_values") is None  # a block that is computed anew would write to a cache twice
    assert any(gradient is not None and gradient.any() for gradient in gradients(model).values())
    assert_gradients_close(found[1], found[0], tolerance=1e-12)
    assert kept[1] < kept[0]


@each_class
def test_gradients_of_every_row_at_once_equal_those_of_a_loop(model_class: type[PreTrainedModel]) -> None:
    model = tiny_model(model_class)
    batch = example_batch(model, padding=0)
    parameters = {name: value.detach() for name, value in model.named_parameters()}

    def loss(parameters: dict[str, Tensor], row: dict[str, Tensor]) -> Tensor:
        return loss_of(functional_call(model, parameters, (), {name: value[None] for name, value in row.items()}))

    of_rows = vmap(grad(loss), in_dims=(None, 0))(parameters, batch)
    for row in range(2):
        model.zero_grad()
        loss_of(model(**{name: value[row : row + 1] for name, value in batch.items()})).backward()
        expected = gradients(model)
        assert sum(1 for gradient in expected.values() if gradient is not None and gradient.any()) > 10
        assert_gradients_close({name: value[row] for name, value in of_rows.items()}, expected, tolerance=1e-10)


def first(output: Any) -> Tensor:
    """A block's hidden states: some return the weights of attention, too."""
    return output if isinstance(output, Tensor) else output[0]


@each_class
def test_hooks_see_every_block_and_the_whole_model(model_class: type[PreTrainedModel]) -> None:
    """What a forward hook returns replaces the output: a block whose output is its input is a block less."""
    model = tiny_model(model_class)
    batch = example_batch(model, labels=False)
    blocks = [block for block in model.modules() if isinstance(block, GradientCheckpointingLayer)]
    seen: list[Any] = []
    for index, block in enumerate(blocks):
        block.register_forward_pre_hook(lambda _, args, index=index: seen.append((index, args[0].shape)))
        block.register_forward_hook(lambda _, args, out, index=index: seen.append((index, first(out).shape)))
        block.register_full_backward_hook(lambda _, into, out: seen.append(out[0].shape))
    model.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs.keys()), with_kwargs=True)
    output = model(**batch)
    assert seen[0] == batch.keys()
    assert {entry[0] for entry in seen[1:]} == {*range(len(blocks))}
    assert all(before == after for before, after in zip(seen[1::2], seen[2::2], strict=True))
    forward = len(seen)
    loss_of(output).backward()
    assert {entry[1] for entry in seen[1:forward]} == {*seen[forward:]}

    blocks[-1].register_forward_hook(lambda _, args, out: args[0] if isinstance(out, Tensor) else (args[0], *out[1:]))
    assert not torch.allclose(model(**batch)[0], output[0])


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("size", [VOCAB_SIZE + 4, VOCAB_SIZE - 2])
@pytest.mark.parametrize("model_class", SCORING_TOKENS, ids=lambda model: model.__name__)
def test_resized_models_compute_the_same_for_old_tokens(
    model_class: type[PreTrainedModel], size: int, tied: bool
) -> None:
    model = tiny_model(model_class, tie_word_embeddings=tied)
    batch = example_batch(model, labels=False)
    batch = {name: value.clamp(max=size - 1) if "ids" in name else value for name, value in batch.items()}
    was_tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    before = scores(model(**batch))
    model.resize_token_embeddings(size)
    head = model.get_output_embeddings()
    assert (head.weight is model.get_input_embeddings().weight) == was_tied
    assert model.config.vocab_size == size
    after = scores(model(**batch))
    assert after.shape[-1] == head.out_features == size
    kept = min(size, VOCAB_SIZE)
    assert_close(after[..., :kept], before[..., :kept])
    newest = {
        name: torch.full_like(value, size - 1) if name.endswith("input_ids") else value for name, value in batch.items()
    }
    model.zero_grad()
    scores(model(**newest)).square().sum().backward()
    tables = [m.weight for m in model.modules() if isinstance(m, nn.Embedding) and m.num_embeddings == size]
    assert tables
    used = [weight for weight in tables if weight.grad is not None]
    assert used
    assert all(weight.grad[size - 1].any() for weight in used)


ONE_TEXT = [m for m in CLASSES if m not in OF_IMAGES and "decoder_input_ids" not in m._forward_arguments]


@pytest.mark.parametrize("model_class", ONE_TEXT, ids=lambda model: model.__name__)
def test_bad_input_is_refused(model_class: type[PreTrainedModel]) -> None:
    """Encoder–decoders and images are in tests/bad_input."""
    model = tiny_model(model_class)
    batch = example_batch(model, labels=False)
    ids = batch["input_ids"]
    with pytest.raises(InputError, match=f"outside 0 … {VOCAB_SIZE - 1}"):
        model(ids + VOCAB_SIZE)
    with pytest.raises(InputError, match="either input_ids or inputs_embeds"):
        model()
    if any(
        name.rpartition(".")[0].endswith(("position_embeddings", "positions_embed", "wpe", "embed_positions"))
        for name, _ in model.named_parameters()
    ):
        with pytest.raises(InputError, match="positions: truncate it"):
            model(torch.ones(*ids.shape[:-1], 25, dtype=torch.long))
    with pytest.raises(InputError, match="attention_mask has shape"):
        model(ids, attention_mask=batch["attention_mask"][..., 1:])
    with pytest.raises(UnknownArgumentError, match="attention_masks"):
        model(ids, attention_masks=batch["attention_mask"])


def test_labels_of_the_discriminator() -> None:
    model = tiny_model(mt.ElectraForPreTraining)
    batch = example_batch(model, labels=False)
    labels = torch.ones_like(batch["input_ids"])
    with pytest.raises(InputError, match="labels holds -100; expected classes 0 … 1"):
        model(**batch, labels=-100 * labels)
    counted = labels * batch["attention_mask"]
    assert_close(model(**batch, labels=labels).loss, model(**batch, labels=counted).loss)  # padding is not counted


def test_positions_of_roberta() -> None:
    """Padding stands at its own id, and texts start behind it; 24 positions are enough for 23 tokens, and no more."""
    model = tiny_model(mt.RobertaModel, max_position_embeddings=24)
    ids = torch.tensor([[0, 0, 5, 6, 7], [5, 6, 0, 7, 8]])
    given = model(ids, position_ids=torch.tensor([[0, 0, 1, 2, 3], [1, 2, 0, 3, 4]])).last_hidden_state
    assert_close(model(ids).last_hidden_state, given)
    model(torch.ones(1, 23, dtype=torch.long))
    model(torch.cat([torch.zeros(1, 9), torch.ones(1, 23)], dim=1).long())
    for padding in (None, 24):
        with pytest.raises(mt.ConfigError, match="pad_token_id"):
            mt.RobertaConfig(**{**small_fields(mt.RobertaModel), "pad_token_id": padding, "vocab_size": 50})


def test_sinusoidal_initialization_of_distilbert() -> None:
    import transformers

    fields = small_fields(mt.DistilBertModel, sinusoidal_pos_embds=True)
    ours = mt.DistilBertModel(mt.DistilBertConfig(**fields)).embeddings.position_embeddings.weight
    theirs = transformers.DistilBertModel(transformers.DistilBertConfig(**fields)).embeddings.position_embeddings.weight
    assert_close(ours, theirs)
    assert ours.requires_grad == theirs.requires_grad
