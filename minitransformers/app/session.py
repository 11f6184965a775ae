"""Session: a loaded model, and how a text or an answer is started with it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import torch

import minitransformers
from minitransformers.app.settings import Settings
from minitransformers.assets import fetch, fetch_if_reachable
from minitransformers.auto import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM
from minitransformers.configs.config import Config
from minitransformers.errors import CheckpointError, InputError, MissingFileError
from minitransformers.generation.loop import Search
from minitransformers.tokenization import AutoTokenizer, GPT2Tokenizer
from minitransformers.tokenization.chat.prompt_templates import Message, encode_chat, fit_chat

# The GPTs that were trained with this library: in a clone of the repository, and where a wheel installs them.
OWN_MODEL = Path("examples", "checkpoints", "gpt")
INSTALLED_MODEL = PurePosixPath("share", "minitransformers", "gpt")
OWN_CHAT_MODEL = Path("examples", "checkpoints", "chat")
INSTALLED_CHAT_MODEL = PurePosixPath("share", "minitransformers", "chat")


@dataclass
class Session:
    """A model with its tokenizer, and its name as it is displayed.

    Attributes:
        name: where the model is from.
        is_random: whether it was never trained, so that its texts mean nothing.
        draft: a smaller model of the same vocabulary, for the strategy "assisted".
    """

    model: Any
    tokenizer: Any
    name: str
    is_random: bool = False
    draft: Any = None

    @property
    def positions(self) -> int | None:
        """The largest number of tokens that the model can read; None if there is no limit."""
        limit: int | None = self.model.max_positions
        return limit

    def encode(self, prompt: str) -> list[int]:
        """The ids of a text to continue; for an empty one the token that begins texts, if the tokenizer has one."""
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
        """Start to continue a text: the search to iterate over, and the seed of its draws, None without draws.

        Raises:
            MinitransformersError: the settings do not fit the model or the prompt; raised before any computation.
        """
        self._check_room(len(ids), settings)
        arguments: dict[str, Any] = settings.arguments()
        seed = None
        if settings.strategy == "sample":
            seed = settings.values["seed"]
            seed = random.randrange(2**16) if seed is None else seed
        if settings.strategy == "assisted":
            if self.draft is None:
                raise InputError(
                    "The strategy 'assisted' needs a smaller model that guesses: restart the program with --draft."
                )
            arguments["assistant_model"] = self.draft
        if stops:
            arguments |= {"stop_strings": list(stops), "tokenizer": self.tokenizer}
        search = self.model.generate_steps(torch.tensor([list(ids)], dtype=torch.long), generator=seed, **arguments)
        return search, None if seed is None else int(seed)

    def check(self, settings: Settings) -> None:
        """Raise an error for settings that no text could be generated with.

        Raises:
            MinitransformersError: they do not fit the model.
        """
        length = settings.values["max_new_tokens"] or 0
        if self.positions is not None and length >= self.positions:
            raise InputError(
                f"{settings.spell('max_new_tokens')} must be less than {self.positions}, the number of tokens that the "
                f"model can read, got {length}."
            )
        self.start([0], settings)

    def _check_room(self, prompt: int, settings: Settings) -> None:
        if self.positions is None:
            return
        room = self.positions + 1 - prompt  # the last token of a text is never read
        if prompt == 0:
            raise InputError("The prompt is empty, and this model needs at least one token to continue: write one.")
        if room <= 1:
            raise InputError(
                f"The prompt has {prompt} tokens, and the model can read {self.positions}: shorten the prompt."
            )
        asked = int(settings.values["max_new_tokens"] or 0)
        if asked > room:
            raise InputError(
                f"There is no room for {asked} new tokens: the model can read {self.positions} tokens, and the prompt "
                f"has {prompt}. Use {settings.spell('max_new_tokens', room)} or a shorter prompt."
            )


def load(
    model: str | None = None, *, random_weights: bool = False, draft: str | None = None, for_chat: bool = False
) -> Session:
    """Load the model of a directory or a hub.

    The default is the GPT that was trained with this library, or GPT-2 where that was not installed.

    Args:
        model: a directory, or the name of a repository.
        for_chat: the default is the small chat model that was trained with this library, where it is installed.
        random_weights: take a small GPT-2 with random weights instead; for trying the app out.
        draft: the directory or name of a smaller model with the same vocabulary.

    Raises:
        MissingFileError: there is no model; the message says how to get one.
        CheckpointError: it cannot continue texts.
    """
    if model is not None and random_weights:
        raise InputError("--model and --random contradict each other: leave one of them out.")
    session = _random() if random_weights else _from(model) if model is not None else _default(for_chat)
    if draft is not None:
        session.draft = _from(draft).model
        sizes = [each.config.vocab_size for each in (session.model, session.draft)]
        if sizes[0] != sizes[1]:
            raise InputError(
                f"--draft {draft} has a vocabulary of {sizes[1]:,} tokens, and the model one of {sizes[0]:,}: choose a "
                f"smaller model of the same family, with the same tokenizer."
            )
    return session


def _default(for_chat: bool) -> Session:
    found = _shipped(OWN_CHAT_MODEL, INSTALLED_CHAT_MODEL) if for_chat else None
    if found is not None:
        return _from(str(found), "the small chat model trained with this library")
    found = _shipped(OWN_MODEL, INSTALLED_MODEL)
    if found is not None:
        return _from(str(found), "the GPT trained with this library")
    downloaded = fetch_if_reachable("gpt2")
    if downloaded is not None:
        return _from(str(downloaded), "GPT-2")
    raise MissingFileError(
        "No trained model is installed, and no hub answers that has GPT-2. Use --model with a directory or, once a hub "
        "can be reached, a name such as openai-community/gpt2. Or use --random: random weights, which write nonsense."
    )


def _shipped(own: Path, installed: PurePosixPath) -> Path | None:
    """The directory of a model that comes with this library: in a clone, or where a wheel has installed it."""
    roots = Path.cwd(), Path(minitransformers.__file__).parents[1]
    directories = [*(root / own for root in roots), _installed_model(installed)]
    return next((each for each in directories if each is not None and (each / "config.json").is_file()), None)


def _installed_model(installed_at: PurePosixPath = INSTALLED_MODEL) -> Path | None:
    """The directory of a model that comes with an installed wheel."""
    try:
        installed = metadata.files("minitransformers") or []
    except metadata.PackageNotFoundError:
        return None
    configs = (file for file in installed if file.parts[-4:] == (*installed_at.parts, "config.json"))
    return next((Path(str(file.locate())).resolve().parent for file in configs), None)


def _from(source: str, name: str | None = None) -> Session:
    configs: Any = AutoConfig
    _check_causal(source, configs.from_pretrained(source))
    model, info = AutoModelForCausalLM.from_pretrained(source, output_loading_info=True)
    new = sorted(info["missing_keys"])
    if new or not hasattr(model, "generate_steps"):
        raise CheckpointError(
            f"{source!r} cannot continue texts: "
            + (f"it has no {', '.join(new[:3])}, which would be random." if new else f"it is a {type(model).__name__}.")
        )
    tokenizers: Any = AutoTokenizer
    return Session(model.eval(), tokenizers.from_pretrained(source), name or source)


def _check_causal(source: str, config: Config) -> None:
    """Raise an error for a model that is not one of the next token, before its weights are loaded.

    BERT and its relatives have a class for texts from left to right, but a checkpoint was trained that way only if its
    configuration says `is_decoder`.
    """
    advice = "Choose a model that was trained to continue texts, such as --model openai-community/gpt2."
    kind = config.model_type
    if config.is_encoder_decoder:
        raise CheckpointError(
            f"{source!r} cannot continue texts: it is an encoder–decoder ({kind}), which rewrites a text as another. "
            f"{advice}"
        )
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING or not getattr(config, "is_decoder", True):
        raise CheckpointError(
            f"{source!r} cannot continue texts: it is an encoder ({kind}), which reads a text from both sides at once, "
            f"to fill gaps or to classify. {advice}"
        )


def _random() -> Session:
    torch.manual_seed(0)
    config = AutoConfig.for_model("gpt2", n_layer=2, n_embd=64, n_head=4)  # everything else as published
    model = AutoModelForCausalLM.from_config(config).eval()
    tokenizer = GPT2Tokenizer.from_pretrained(fetch("gpt2-tokenizer"))
    return Session(model, tokenizer, "RANDOM weights: what it writes means nothing", is_random=True)
