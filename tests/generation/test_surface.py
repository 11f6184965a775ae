"""generate as scripts call it: batches as they come, models of a user's own, threads, and names that are not here."""

from __future__ import annotations

import asyncio
import importlib
from threading import Thread
from typing import Any

import pytest
import torch
import transformers
from tiny import gpt2
from torch import nn

import minitransformers as mt

IDS = torch.tensor([[3, 4, 5], [6, 7, 8]])
LIBRARIES = ["minitransformers", "transformers"]


@pytest.mark.parametrize(
    "batch",
    [
        {"labels": IDS},
        {"special_tokens_mask": IDS, "offset_mapping": [], "length": [3, 3], "overflow_to_sample_mapping": [0, 1]},
        {"num_items_in_batch": 6},
        {"logits_to_keep": 2},
        {"logits_to_keep": 0},
        {"mc_labels": torch.tensor([0, 1])},
        {"cache_position": torch.arange(3)},
        {"return_dict": True},
        *({name: None} for name in ("head_mask", "decoder_input_ids", "encoder_outputs", "past_key_values")),
        {"assistant_tokenizer": None, "trust_remote_code": False, "custom_generate": None},
    ],
    ids=lambda batch: ", ".join(batch),
)
def test_what_changes_nothing_is_accepted(batch: dict[str, Any]) -> None:
    model = gpt2()
    assert torch.equal(model.generate(IDS, **batch, max_new_tokens=3), model.generate(IDS, max_new_tokens=3))


def test_wrong_names_are_errors_that_callers_of_either_library_catch() -> None:
    for name in ("max_lenght", "past_key_value", "max_tokens"):
        with pytest.raises(ValueError, match=f"takes no argument '{name}'"):
            gpt2().generate(IDS, **{name: 3})
        with pytest.raises(TypeError, match=f"takes no argument '{name}'"):
            gpt2().generate(IDS, **{name: 3})


def a_users_model(lib: Any) -> Any:
    """A recurrent model, whose classes know nothing of `generate` but the mixin's name."""

    class MyConfig(lib.PretrainedConfig):  # type: ignore[misc]
        model_type = "mine"

        def __init__(self, vocab_size: int = 20, hidden_size: int = 8, num_hidden_layers: int = 1, **rest: Any) -> None:
            self.vocab_size, self.hidden_size, self.num_hidden_layers = vocab_size, hidden_size, num_hidden_layers
            super().__init__(**rest)

    class MyModel(lib.PreTrainedModel, lib.GenerationMixin):  # type: ignore[misc]
        config_class = MyConfig

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
            self.head = nn.Linear(config.hidden_size, config.vocab_size)
            self.post_init()

        def forward(self, input_ids: Any, attention_mask: Any = None, labels: Any = None, **kwargs: Any) -> Any:
            outputs = importlib.import_module(f"{lib.__name__}.modeling_outputs")
            return outputs.CausalLMOutput(logits=self.head(self.embed(input_ids).cumsum(dim=1)))

        def prepare_inputs_for_generation(self, input_ids: Any, **kwargs: Any) -> dict[str, Any]:
            return {"input_ids": input_ids}

    model = MyModel(MyConfig()).eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random))
    return model


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_beams": 3},
        {"do_sample": True, "top_k": 4},
        {"use_cache": False},
        {"cache_implementation": "static"},
    ],
    ids=str,
)
def test_a_model_of_a_users_own(options: dict[str, Any]) -> None:
    results = []
    for name in LIBRARIES:
        model = a_users_model(importlib.import_module(name))
        assert model.can_generate()
        torch.manual_seed(0)
        results.append(model.generate(IDS, max_new_tokens=5, pad_token_id=0, **options))
    assert torch.equal(*results)


@pytest.mark.parametrize("name", LIBRARIES)
def test_an_asynchronous_streamer(name: str) -> None:
    """Pieces arrive in a coroutine while another thread generates; together they are the text."""
    lib = importlib.import_module(name)

    class Letters:
        def decode(self, ids: Any, **_: Any) -> str:
            return " ".join("abcdefghijk"[int(i)] for i in ids)

    def feed(streamer: Any) -> None:
        streamer.put(IDS[:1])
        for token in gpt2().generate(IDS[:1], max_new_tokens=6)[0, 3:]:
            streamer.put(token[None])
        streamer.end()

    async def read(timeout: float | None, generates: bool) -> list[str]:
        streamer = lib.AsyncTextIteratorStreamer(Letters(), skip_prompt=True, timeout=timeout)
        if generates and lib is mt:
            arguments = {"inputs": IDS[:1], "max_new_tokens": 6, "streamer": streamer}
            Thread(target=gpt2().generate, kwargs=arguments).start()
        elif generates:
            Thread(target=feed, args=(streamer,)).start()
        return [piece async for piece in streamer]

    pieces = asyncio.run(read(30, generates=True))
    assert "".join(pieces) == Letters().decode(gpt2().generate(IDS[:1], max_new_tokens=6)[0, 3:])
    assert len(pieces) > 2
    with pytest.raises(TimeoutError):
        asyncio.run(read(0.01, generates=False))


def test_processors_take_a_device() -> None:
    """As in the reference; tokens are on the device of the scores, whatever it is."""
    ids, scores = torch.tensor([[1, 2]]), torch.zeros(1, 5)
    for name, arguments in {
        "MinLengthLogitsProcessor": (5, 3),
        "MinNewTokensLengthLogitsProcessor": (1, 5, 3),
        "ForcedEOSTokenLogitsProcessor": (3, 3),
        "SuppressTokensLogitsProcessor": ([3],),
        "SuppressTokensAtBeginLogitsProcessor": ([3], 2),
        "EtaLogitsWarper": (0.3,),
    }.items():
        ours, theirs = (getattr(lib, name)(*arguments, device="cpu")(ids, scores) for lib in (mt, transformers))
        assert torch.equal(ours, theirs), name


def test_confidence() -> None:
    for lib in LIBRARIES:
        stopping = importlib.import_module(f"{lib}.generation.stopping_criteria")
        criterion = stopping.ConfidenceCriteria(assistant_confidence_threshold=0.5)
        ends = [bool(torch.as_tensor(criterion(IDS[:1], (torch.eye(6)[5][None] * x,))).all()) for x in (0.0, 9.0)]
        assert ends == [True, False]
    with pytest.raises(mt.InputError, match="ConfidenceCriteria needs the scores"):
        mt.generation.ConfidenceCriteria(0.5)(IDS, None)


PATHS = ["generation", "generation.logits_process", "generation.stopping_criteria", "generation.streamers"]
PATHS += ["generation.configuration_utils", "generation.watermarking", "generation.utils", "cache_utils"]


def test_every_name_is_here_or_explained() -> None:
    """Classes of generation and caches that the reference has in its modules, and at its top level."""
    explained: dict[str, str] = {}
    for path in PATHS:
        theirs = importlib.import_module(f"transformers.{path}")
        names = {name for name in dir(theirs) if name[0].isupper() and module_of(theirs, name).startswith(OWN)}
        top = names & {*dir(transformers)}
        for module, found in ((f"minitransformers.{path}", names), ("minitransformers", top)):
            ours = importlib.import_module(module)
            for name in sorted(found):
                try:
                    assert getattr(ours, name) is not None
                except AttributeError as error:
                    explained[f"{module}.{name}"] = str(error)
    undecided = [text for text in explained.values() if ": " not in text or "Did you mean" in text.split(": ")[0]]
    assert not undecided, "\n".join(undecided)
    assert "derive from DynamicLayer" in explained["minitransformers.CacheLayerMixin"]
    assert "MusicGen alone" in explained["minitransformers.generation.ClassifierFreeGuidanceLogitsProcessor"]


OWN = ("transformers.generation", "transformers.cache_utils")


def module_of(module: Any, name: str) -> str:
    return getattr(getattr(module, name), "__module__", None) or ""


def test_a_static_cache_under_compile(run_script: Any) -> None:
    """Its memory stays where it is, and few graphs serve all lengths."""
    assert run_script("compile_static_cache.py") == "2 graphs\n"
