"""Session: a model that is loaded, and how a text or an answer of it is started."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import minitransformers
from minitransformers.app.settings import Settings
from minitransformers.assets import fetch, fetch_if_reachable
from minitransformers.auto import AutoConfig, AutoModelForCausalLM
from minitransformers.errors import CheckpointError, InputError, MissingFileError
from minitransformers.generation.loop import Search
from minitransformers.tokenization import AutoTokenizer, GPT2Tokenizer
from minitransformers.tokenization.chat.prompt_templates import Message, encode_chat, fit_chat

# Where the examples keep the GPT that was trained with this library, seen from a clone of the repository.
OWN_MODEL = Path("examples", "checkpoints", "gpt")


@dataclass
class Session:
    """A model with its tokenizer, and what it is called where texts of it are shown.

    Attributes:
        name: where the model is from.
        is_random: whether it was never trained, and what it writes means nothing.
        draft: a smaller model of the same vocabulary, for the strategy "assisted".
    """

    model: Any
    tokenizer: Any
    name: str
    is_random: bool = False
    draft: Any = None

    @property
    def positions(self) -> int | None:
        """How many tokens the model can read; None where there is no limit."""
        limit: int | None = self.model.max_positions
        return limit

    def encode(self, prompt: str) -> list[int]:
        """The ids of a text to continue. An empty one is what texts begin with, where the tokenizer knows that."""
        ids: list[int] = self.tokenizer(prompt, verbose=False)["input_ids"]
        start = self.tokenizer.bos_token_id
        return ids if ids or start is None else [start]

    def fit(self, messages: Sequence[Message], settings: Settings) -> tuple[list[Message], list[int]]:
        """The newest turns of a chat that leave room for an answer, and their ids.

        Raises:
            InputError: the last message alone is too long.
        """
        room = int(settings.values["max_new_tokens"] or 0)
        limit = 2**31 if self.positions is None else self.positions - room
        return fit_chat(messages, limit, lambda chat: encode_chat(self.tokenizer, chat))

    def start(self, ids: Sequence[int], settings: Settings, stops: Sequence[str] = ()) -> tuple[Search, int | None]:
        """Begin to continue a text: what to iterate over, and the seed of its draws, None where nothing is drawn.

        Raises:
            MinitransformersError: settings that are out of range or leave no room; before anything is computed.
        """
        arguments: dict[str, Any] = settings.arguments()
        seed = settings.values["seed"] if settings.strategy == "sample" else None
        if settings.strategy == "sample":
            seed = random.randrange(2**16) if seed is None else seed
            if not 0 <= seed < 2**63:
                raise InputError(f"seed={seed} must be a whole number from 0 to 2**63 − 1.")
        if settings.strategy == "assisted":
            if self.draft is None:
                raise InputError("The strategy 'assisted' needs a smaller model that guesses: start with --draft.")
            arguments["assistant_model"] = self.draft
        if stops:
            arguments |= {"stop_strings": list(stops), "tokenizer": self.tokenizer}
        search = self.model.generate_steps(torch.tensor([list(ids)], dtype=torch.long), generator=seed, **arguments)
        return search, None if seed is None else int(seed)

    def check(self, settings: Settings) -> None:
        """Refuse settings that no text could be generated with.

        Raises:
            MinitransformersError: in the words of `generate`.
        """
        self.start([0], settings)


def load(model: str | None = None, *, random_weights: bool = False, draft: str | None = None) -> Session:
    """Load the model of a directory or a hub.

    Unless named, it is the GPT that was trained with this library (examples/checkpoints/gpt), else the real GPT-2,
    where a hub answers.

    Args:
        model: a directory, or the name of a repository.
        random_weights: take a small GPT-2 with random weights instead; for trying the app out.
        draft: a smaller model of the same vocabulary, likewise.

    Raises:
        MissingFileError: there is no model, with what to do about it.
        CheckpointError: it cannot generate.
    """
    if model is not None and random_weights:
        raise InputError("--model and --random contradict each other: pass only one of them.")
    session = _random() if random_weights else _from(model) if model is not None else _default()
    if draft is not None:
        session.draft = _from(draft).model
    return session


def _default() -> Session:
    for root in (Path.cwd(), Path(minitransformers.__file__).parents[1]):
        if (root / OWN_MODEL / "config.json").is_file():
            return _from(str(root / OWN_MODEL), "the GPT trained with this library")
    directory = fetch_if_reachable("gpt2")
    if directory is not None:
        return _from(str(directory), "GPT-2")
    raise MissingFileError(
        f"There is no trained model here: {OWN_MODEL} does not exist, and no hub that has GPT-2 answers. Pass --model "
        f"with a directory or a name on a hub (`python examples/02_generate.py` trains a tiny model in a minute and "
        f"saves it to out/gpt), or --random for a model with random weights, which writes nonsense."
    )


def _from(source: str, name: str | None = None) -> Session:
    model, info = AutoModelForCausalLM.from_pretrained(source, output_loading_info=True)
    new = sorted(info["missing_keys"])
    if new or not hasattr(model, "generate_steps"):
        raise CheckpointError(
            f"{source!r} cannot continue texts: "
            + (f"it has no {', '.join(new[:3])}, which would be random." if new else f"it is a {type(model).__name__}.")
        )
    tokenizers: Any = AutoTokenizer
    return Session(model.eval(), tokenizers.from_pretrained(source), name or source)


def _random() -> Session:
    torch.manual_seed(0)
    config = AutoConfig.for_model("gpt2", n_layer=2, n_embd=64, n_head=4)  # everything else as published
    model = AutoModelForCausalLM.from_config(config).eval()
    tokenizer = GPT2Tokenizer.from_pretrained(fetch("gpt2-tokenizer"))
    return Session(model, tokenizer, "RANDOM weights: what it writes means nothing", is_random=True)
