"""AutoTokenizer: chooses the tokenizer class from the files of a directory or repository."""

from __future__ import annotations

import os
from typing import Any, NoReturn

from minitransformers.errors import InputError, TokenizationError, nearest
from minitransformers.files.hub import Source
from minitransformers.tokenization.base.tokenizer import PreTrainedTokenizer
from minitransformers.tokenization.base.tokenizer_files import CONFIG_FILE, TOKENIZER_FILE, read_json
from minitransformers.tokenization.families.albert import AlbertTokenizer
from minitransformers.tokenization.families.bert import BertTokenizer, DistilBertTokenizer
from minitransformers.tokenization.families.from_files import GPTNeoXTokenizer, LlamaTokenizer, Qwen2Tokenizer
from minitransformers.tokenization.families.gpt2 import GPT2Tokenizer
from minitransformers.tokenization.families.openai_gpt import OpenAIGPTTokenizer
from minitransformers.tokenization.families.roberta import RobertaTokenizer
from minitransformers.tokenization.families.t5 import T5Tokenizer
from minitransformers.tokenization.families.xlm_roberta import XLMRobertaTokenizer

# The names of tokenizer classes in files, without the ending "Fast" of transformers 4.
CLASSES: dict[str, type[PreTrainedTokenizer]] = {
    "AlbertTokenizer": AlbertTokenizer,
    "BartTokenizer": RobertaTokenizer,
    "BertTokenizer": BertTokenizer,
    "DistilBertTokenizer": DistilBertTokenizer,
    "ElectraTokenizer": BertTokenizer,
    "GPT2Tokenizer": GPT2Tokenizer,
    "GPTNeoXTokenizer": GPTNeoXTokenizer,
    "LlamaTokenizer": LlamaTokenizer,
    "OpenAIGPTTokenizer": OpenAIGPTTokenizer,
    "PreTrainedTokenizer": PreTrainedTokenizer,
    "Qwen2Tokenizer": Qwen2Tokenizer,
    "RobertaTokenizer": RobertaTokenizer,
    "T5Tokenizer": T5Tokenizer,
    "TokenizersBackend": PreTrainedTokenizer,
    "XLMRobertaTokenizer": XLMRobertaTokenizer,
}

# `model_type` in config.json -> the class, for checkpoints whose files name no class.
MODEL_TYPES: dict[str, type[PreTrainedTokenizer]] = {
    "albert": AlbertTokenizer,
    "bart": RobertaTokenizer,
    "distilbert": DistilBertTokenizer,  # transformers has BertTokenizer, and its model ignores token_type_ids
    "roberta": RobertaTokenizer,
    "t5": T5Tokenizer,
    "xlm-roberta": XLMRobertaTokenizer,
    **dict.fromkeys(("bert", "electra", "megatron-bert", "convbert", "nomic_bert"), BertTokenizer),
    **dict.fromkeys(("gpt2", "gpt_neo", "gptj", "opt", "phi", "codegen", "starcoder2"), GPT2Tokenizer),
    "gpt_neox": GPTNeoXTokenizer,
    **dict.fromkeys(("mistral", "modernbert"), PreTrainedTokenizer),
    "qwen2": Qwen2Tokenizer,
    "openai-gpt": OpenAIGPTTokenizer,
}


class AutoTokenizer:
    """Loads the tokenizer of a checkpoint, of any class. It has no instances."""

    def __init__(self) -> NoReturn:
        raise InputError("AutoTokenizer has no instances: use AutoTokenizer.from_pretrained(name_or_path).")

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        config: Any = None,
        tokenizer_type: str | None = None,
        use_fast: bool = True,
        trust_remote_code: bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        subfolder: str = "",
        **overrides: Any,
    ) -> PreTrainedTokenizer:
        """Load a tokenizer from a directory or a repository of a hub.

        The class is given by tokenizer_config.json, or else by config.json, or else by the `model_type`. For a class
        that this library does not have, PreTrainedTokenizer takes the whole pipeline from tokenizer.json.

        Args:
            pretrained_model_name_or_path: the directory or the repository's name.
            config: a configuration to read instead of config.json.
            tokenizer_type: a `model_type` that sets the class in place of the files.
            use_fast: has no effect; every tokenizer of this library is a fast one.
            trust_remote_code: has no effect. No code of a repository is ever run.
            cache_dir, force_download, local_files_only, token, revision, subfolder: see `Source`.
            overrides: arguments of the class; they replace those of the files.

        Raises:
            TokenizationError: the files name no class, or an unknown one without a tokenizer.json.
            MissingFileError: no such directory or repository.
        """
        token = overrides.pop("use_auth_token", None) or token
        name: Any = pretrained_model_name_or_path
        source = Source(
            name,
            cache_dir=cache_dir,
            revision=revision,
            subfolder=subfolder,
            local_files_only=local_files_only,
            token=token,
            force_download=force_download,
        )
        if tokenizer_type is None:
            chosen = _choose(source, config)
        elif tokenizer_type in MODEL_TYPES:
            chosen = MODEL_TYPES[tokenizer_type]
        else:
            raise InputError(
                f"tokenizer_type must be one of {', '.join(MODEL_TYPES)}; got {tokenizer_type!r}."
                f"{nearest(tokenizer_type, MODEL_TYPES)}"
            )
        return chosen._load(source, overrides)

    @staticmethod
    def register(
        config_class: Any,
        tokenizer_class: type[PreTrainedTokenizer] | None = None,
        slow_tokenizer_class: type[PreTrainedTokenizer] | None = None,
        fast_tokenizer_class: type[PreTrainedTokenizer] | None = None,
        exist_ok: bool = False,
    ) -> None:
        """Let AutoTokenizer find a user's own tokenizer class, for the model_type of `config_class`.

        Args:
            config_class: the configuration class.
            tokenizer_class, slow_tokenizer_class, fast_tokenizer_class: the class, under any of these names.
            exist_ok: replace the class of a model_type that has one.

        Raises:
            InputError: no class was passed, or the model_type has one already.
        """
        chosen = tokenizer_class or fast_tokenizer_class or slow_tokenizer_class
        if chosen is None:
            raise InputError("tokenizer_class=None: pass the class to register.")
        if config_class.model_type in MODEL_TYPES and not exist_ok:
            taken = MODEL_TYPES[config_class.model_type].__name__
            raise InputError(f"model_type {config_class.model_type!r} is taken by {taken}: pass exist_ok=True.")
        CLASSES[chosen.__name__.removesuffix("Fast")] = chosen
        MODEL_TYPES[config_class.model_type] = chosen


def _choose(source: Source, config: Any) -> type[PreTrainedTokenizer]:
    name = _read(source, CONFIG_FILE).get("tokenizer_class")
    model_type = None
    if name is None:
        if config is None:
            settings = _read(source, "config.json")
        else:
            settings = {key: getattr(config, key, None) for key in ("tokenizer_class", "model_type")}
        name, model_type = settings.get("tokenizer_class"), settings.get("model_type")
    if name is None and model_type in MODEL_TYPES:
        return MODEL_TYPES[model_type]
    if isinstance(name, str) and name.removesuffix("Fast") in CLASSES:
        return CLASSES[name.removesuffix("Fast")]
    if source.find(TOKENIZER_FILE) is not None:
        return PreTrainedTokenizer
    known = ", ".join(CLASSES)
    if name is not None:
        raise TokenizationError(
            f"{source} names the tokenizer class {name!r}, which this library does not have (it has {known}), and has "
            "no tokenizer.json, which replaces the class. Save one with transformers: "
            "AutoTokenizer.from_pretrained(…).save_pretrained(…)."
        )
    raise TokenizationError(
        f"{source} does not say which tokenizer it has: neither a tokenizer.json, nor 'tokenizer_class' in "
        f"{CONFIG_FILE} or config.json, nor a known model_type ({model_type!r}). Load it by its class, one of {known}."
    )


def _read(source: Source, filename: str) -> dict[str, Any]:
    path = source.find(filename)
    return {} if path is None else read_json(path)
