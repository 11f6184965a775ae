"""Adapters of peft: the same on a model of either library, and exchangeable between them.

Whether adapted models generate the same tokens is tested in generation/test_adapters.py.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import peft
import pytest
import torch
import transformers
from cases import rounding_nothing
from torch import Tensor
from torch.nn import functional as F

import minitransformers as mt
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.weights import draw_weights, without_dropout

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of peft, about GPT-2's matrices and embeddings that are saved too
    pytest.mark.usefixtures("annotations_are_not_checked"),  # peft's caches are the reference's
]

VOCAB_SIZE = 17
COMMON = {"vocab_size": VOCAB_SIZE, "pad_token_id": 0, "eos_token_id": 2, "num_labels": 3}
ENCODER = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
FIELDS: dict[str, dict[str, Any]] = {
    "Bert": {**ENCODER, "max_position_embeddings": 32},
    "Roberta": {**ENCODER, "max_position_embeddings": 32},
    "DistilBert": {"dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 12, "max_position_embeddings": 32},
    "GPT2": {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": 32},
    "Llama": {**ENCODER, "num_key_value_heads": 1},
    "T5": {"num_layers": 2, "num_heads": 2, "d_kv": 4, "d_ff": 12, "d_model": 8, "decoder_start_token_id": 0},
    "Bart": {
        "d_model": 8,
        "max_position_embeddings": 32,
        "decoder_start_token_id": 2,
        **dict.fromkeys(["encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads"], 2),
        **dict.fromkeys(["encoder_ffn_dim", "decoder_ffn_dim"], 12),
    },
}
HEADS = {
    "SEQ_CLS": "ForSequenceClassification",
    "TOKEN_CLS": "ForTokenClassification",
    "CAUSAL_LM": "ForCausalLM",
    "SEQ_2_SEQ_LM": "ForConditionalGeneration",
}
TASKS = {
    **dict.fromkeys(["Bert", "Roberta", "DistilBert"], ("SEQ_CLS", "TOKEN_CLS")),
    **dict.fromkeys(["GPT2", "Llama"], ("CAUSAL_LM", "SEQ_CLS", "TOKEN_CLS")),
    "T5": ("SEQ_2_SEQ_LM", "TOKEN_CLS"),
    "Bart": ("SEQ_2_SEQ_LM", "SEQ_CLS"),
}
# A projection of the attention and one of the feed-forward network, by the names of the family.
BY_NAME = {
    "Bert": ["key", "intermediate.dense"],
    "Roberta": ["key", "intermediate.dense"],
    "DistilBert": ["q_lin", "ffn.lin1"],
    "GPT2": ["c_attn", "mlp.c_proj"],
    "Llama": ["k_proj", "down_proj"],
    "T5": ["q", "wo"],
    "Bart": ["out_proj", "fc2"],
}
# The layer that scores the vocabulary, which peft leaves out of "all-linear" in classes of transformers alone.
SCORES = ["lm_head"]
ADAPTERS: dict[str, Callable[..., Any]] = {
    "LoRA of default targets": lambda family, **options: peft.LoraConfig(**options, r=2),
    "LoRA of all linear layers": lambda family, **options: peft.LoraConfig(
        **options, r=2, target_modules="all-linear", exclude_modules=SCORES
    ),
    "LoRA by names": lambda family, **options: peft.LoraConfig(**options, r=2, target_modules=BY_NAME[family]),
    "prefix tuning": lambda family, **options: peft.PrefixTuningConfig(**options, **prompt(family)),
    "prompt tuning": lambda family, **options: peft.PromptTuningConfig(**options, **prompt(family)),
    "p-tuning": lambda family, **options: peft.PromptEncoderConfig(**options, **prompt(family), encoder_hidden_size=6),
}


def prompt(family: str) -> dict[str, int]:
    sizes = {"token_dim": 8, "num_layers": 2, "num_attention_heads": 2}
    return {"num_virtual_tokens": PROMPT, **(sizes if family == "DistilBert" else {})}  # peft reads other fields


PROMPT = 3
# What peft or the reference cannot do
IMPOSSIBLE = {
    "DistilBert-SEQ_CLS-LoRA of default targets": "peft has none",
    "DistilBert-TOKEN_CLS-LoRA of default targets": "peft has none",
    "DistilBert-SEQ_CLS-LoRA of all linear layers": "peft wraps the head twice",
    **{
        f"{family}-TOKEN_CLS-LoRA of all linear layers": "peft wraps the head twice"
        for family in ("Bert", "Roberta", "DistilBert", "GPT2", "Llama", "T5")
    },
    "DistilBert-SEQ_CLS-prefix tuning": "no cache",
    "DistilBert-TOKEN_CLS-prefix tuning": "no cache",
    "T5-TOKEN_CLS-prefix tuning": "the encoder alone has no cache",
    "Bart-SEQ_CLS-prefix tuning": "peft's mask does not fit",
    "Bart-SEQ_CLS-prompt tuning": "the end of a text is found in input_ids",
    "Bart-SEQ_CLS-p-tuning": "the end of a text is found in input_ids",
}


@pytest.fixture(autouse=True)
def _in_float64() -> Iterator[None]:
    with rounding_nothing():
        yield


def cases() -> Iterator[Any]:
    for family, tasks in TASKS.items():
        for task in tasks:
            for adapter in ADAPTERS:
                if (name := f"{family}-{task}-{adapter}") not in IMPOSSIBLE:
                    yield pytest.param(family, task, adapter, id=name.replace(" ", "-"))


EVERY_CASE = pytest.mark.parametrize(("family", "task", "adapter"), list(cases()))


def base(library: Any, family: str, task: str) -> Any:
    """A model with weights that depend on nothing but the family and the task, in float64, without dropout."""
    name = family + ("LMHeadModel" if (family, task) == ("GPT2", "CAUSAL_LM") else HEADS[task])
    config = getattr(transformers, f"{family}Config")(**COMMON, **FIELDS[family])
    reference = draw_weights(getattr(transformers, name)(config).double().eval(), seed=1, scale=0.4)
    if library is transformers:
        return without_dropout(reference)
    model = getattr(mt, name)(getattr(mt, f"{family}Config")(**COMMON, **FIELDS[family])).double().eval()
    model.load_state_dict(reference.state_dict())
    return without_dropout(model)


def adapted(library: Any, family: str, task: str, adapter: str) -> Any:
    """The base with an adapter whose weights depend on its shape alone."""
    model = peft.get_peft_model(base(library, family, task), ADAPTERS[adapter](family, task_type=task)).double()
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in trainable(model).values():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=random, dtype=parameter.dtype))
    return model


def trainable(model: Any) -> dict[str, Tensor]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def batch(task: str, adapter: str) -> dict[str, Tensor]:
    ids = torch.tensor([[1, 5, 9, 12, 2], [1, 7, 2, 0, 0], [3, 4, 11, 2, 0]])
    arguments = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    labels = {
        "SEQ_CLS": torch.tensor([0, 2, 1]),
        "TOKEN_CLS": (ids % 3).masked_fill(ids == 0, -100),
        "CAUSAL_LM": ids.masked_fill(ids == 0, -100),
        "SEQ_2_SEQ_LM": torch.tensor([[6, 2, -100], [8, 10, 2], [2, -100, -100]]),
    }
    if task == "TOKEN_CLS" and adapter in ("prompt tuning", "p-tuning"):  # which put vectors in front of the tokens
        return {**arguments, "labels": F.pad(labels[task], (PROMPT, 0), value=-100)}
    return {**arguments, "labels": labels[task]}


def without_labels(task: str, adapter: str) -> dict[str, Tensor]:
    """The same without labels, but for those that are the decoder's input."""
    arguments = batch(task, adapter)
    return arguments if task == "SEQ_2_SEQ_LM" else {**arguments, "labels": None}


@EVERY_CASE
def test_adapters_are_the_same_and_exchangeable(family: str, task: str, adapter: str) -> None:
    """The same parameters are trained, from either library's file, and with the same losses."""
    ours, theirs = (adapted(library, family, task, adapter).eval() for library in (mt, transformers))
    assert ours.get_nb_trainable_parameters() == theirs.get_nb_trainable_parameters()
    shapes = [{name: tuple(weight.shape) for name, weight in trainable(model).items()} for model in (ours, theirs)]
    assert shapes[0] == shapes[1]

    arguments = without_labels(task, adapter)
    with torch.no_grad():
        expected = theirs(**arguments).logits
        for writer, library in ((ours, transformers), (theirs, mt)):
            assert_close(read_into(library, family, task, writer)(**arguments).logits, expected, tolerance=1e-6)
        without = base(mt, family, task)(**arguments).logits
    assert without.shape != expected.shape or (without - expected).abs().max() > 1e-3  # the adapter matters

    losses = [train(model, batch(task, adapter)) for model in (ours, theirs)]
    assert_close(losses[0], losses[1], tolerance=1e-6)
    assert losses[0][-1] < losses[0][0]


def read_into(library: Any, family: str, task: str, writer: Any) -> Any:
    """The base of `library` with the adapter that `writer` has written to files."""
    with tempfile.TemporaryDirectory() as directory:
        writer.save_pretrained(directory)
        return peft.PeftModel.from_pretrained(base(library, family, task), directory).double().eval()


def train(model: Any, arguments: dict[str, Tensor]) -> Tensor:
    model.eval()  # without dropout, that of the adapter too
    optimizer = torch.optim.SGD(list(trainable(model).values()), lr=0.001)
    losses = []
    for _ in range(4):
        loss = model(**arguments).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


@pytest.mark.parametrize(("family", "task", "adapter"), [case for case in cases() if "LoRA" in case.values[2]])
def test_merging_puts_the_adapter_into_the_weights(family: str, task: str, adapter: str) -> None:
    ours, theirs = (adapted(library, family, task, adapter).eval() for library in (mt, transformers))
    arguments = without_labels(task, adapter)
    with torch.no_grad():
        expected = ours(**arguments).logits
        merged = ours.merge_and_unload()
        assert type(merged) is type(base(mt, family, task))
        assert_close(merged(**arguments).logits, expected)
        assert_close(merged.hf_state_dict(), theirs.merge_and_unload().state_dict(), tolerance=1e-6)
