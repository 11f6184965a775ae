"""AutoConfig and AutoModel…: the right class for a checkpoint, by the model_type of its config.json.

A new family is one line in each table that it has a class for. The tables hold names, so that a family's module is
imported when one of its checkpoints is loaded, and not before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from minitransformers.configs.config import CONFIG_FILE, Config, read_config_file
from minitransformers.errors import CheckpointError, InputError, UnknownNameError, nearest
from minitransformers.files.hub import Source
from minitransformers.models.base.pretrained import PreTrainedModel


class ClassTable(Mapping[str, Any]):
    """model_type -> class, given by its name; the file of its family in `models/` is named after the model_type."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def __getitem__(self, model_type: str) -> Any:
        name = self._names[model_type]  # an unknown model_type is a KeyError here
        return getattr(import_module(f"minitransformers.models.{model_type.replace('-', '_')}"), name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


CONFIGS = ClassTable(
    {
        "albert": "AlbertConfig",
        "bart": "BartConfig",
        "bert": "BertConfig",
        "dinov2": "Dinov2Config",
        "distilbert": "DistilBertConfig",
        "electra": "ElectraConfig",
        "gpt2": "GPT2Config",
        "gpt_neo": "GPTNeoConfig",
        "gpt_neox": "GPTNeoXConfig",
        "llama": "LlamaConfig",
        "mistral": "MistralConfig",
        "modernbert": "ModernBertConfig",
        "openai-gpt": "OpenAIGPTConfig",
        "qwen2": "Qwen2Config",
        "roberta": "RobertaConfig",
        "t5": "T5Config",
        "vit": "ViTConfig",
        "xlm-roberta": "XLMRobertaConfig",
    }
)

_HUB_ARGUMENTS = ("cache_dir", "revision", "subfolder", "local_files_only", "token", "force_download")


class AutoConfig:
    """Chooses the configuration class by model_type."""

    def __init__(self) -> None:
        raise TypeError(
            "AutoConfig only chooses a class: call AutoConfig.from_pretrained(…) or AutoConfig.for_model(…)."
        )

    @staticmethod
    def for_model(model_type: str, **fields: Any) -> Config:
        """A configuration of the given model_type with the given fields.

        Raises:
            UnknownNameError: there is no such model_type here.
        """
        if model_type not in CONFIGS:
            raise UnknownNameError(
                f"There is no model_type {model_type!r} here; there are {', '.join(CONFIGS)}."
                f"{nearest(model_type, CONFIGS)}"
            )
        config: Config = CONFIGS[model_type](**fields)
        return config

    @staticmethod
    def from_pretrained(
        pretrained_model_name_or_path: str | PathLike[str],
        *,
        trust_remote_code: bool | None = None,
        finetuning_task: str | None = None,
        **options: Any,
    ) -> Config:
        """Read config.json of a directory or a hub's repository into the class that its model_type names.

        `options` are those of `Config.from_pretrained`, fields that override the file included.

        Args:
            trust_remote_code: accepted for scripts that pass it. No code of a repository is ever run.
            finetuning_task: accepted for scripts that pass it, and forgotten, as transformers 5 does.

        Raises:
            CheckpointError: the file does not say its model_type, or one that is not covered.
        """
        source = Source(
            pretrained_model_name_or_path,
            **{name: options.pop(name) for name in _HUB_ARGUMENTS if name in options},
        )
        content = read_config_file(source.file(CONFIG_FILE))
        config_class: type[Config] = CONFIGS[_model_type(content, source)]
        return config_class.from_dict(content, **{"name_or_path": source.name_or_path, **options})


def _model_type(content: dict[str, Any], source: Source) -> str:
    """The model_type that a config.json has or, in old files without one, that other names in it suggest.

    Raises:
        CheckpointError: none can be told, or it is not covered.
    """
    model_type = content.get("model_type")
    if model_type is None:
        # Files from before there were Auto classes do not say it; an architecture ("BertModel") or the directory's name
        # may, as a word of its own: "roberta" is no "bert".
        hints = [*(content.get("architectures") or ()), Path(source.name).name]
        # Longest first: "xlm-roberta" holds "roberta".
        words = [(name, rf"(?<![A-Za-z])(?i:{name})(?![a-z])") for name in sorted(CONFIGS, key=len, reverse=True)]
        model_type = next((known for hint in hints for known, word in words if re.search(word, str(hint))), None)
    if model_type is None:
        raise CheckpointError(
            f"{CONFIG_FILE} of {source.name_or_path!r} has no model_type: use the classes of its family "
            f'({", ".join(CONFIGS)}), or add "model_type" to the file.'
        )
    if model_type not in CONFIGS:
        raise CheckpointError(
            f"{source.name_or_path!r} is of model_type {model_type!r}, which is not covered; covered are "
            f"{', '.join(CONFIGS)}."
        )
    return str(model_type)


class _AutoModel:
    """Chooses a model class by model_type; each subclass has the table of one task."""

    models: ClassVar[ClassTable]

    def __init__(self) -> None:
        name = type(self).__name__
        raise TypeError(f"{name} only chooses a class: call {name}.from_pretrained(…) or {name}.from_config(…).")

    @classmethod
    def from_config(cls, config: Config, **options: Any) -> PreTrainedModel:
        """A newly initialised model for this task, of the family of `config`."""
        if not isinstance(config, Config):
            raise InputError(f"{cls.__name__}.from_config needs a configuration, got {type(config).__name__}.")
        if "attn_implementation" in options:
            config.attn_implementation = options.pop("attn_implementation")
        return cls._class_for(config)(config, **options)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | PathLike[str],
        *model_args: Any,
        trust_remote_code: bool | None = None,
        **options: Any,
    ) -> Any:
        """Load a checkpoint into the class of its family for this task; see `PreTrainedModel.from_pretrained`.

        `trust_remote_code` is accepted for scripts that pass it: no code of a repository is ever run.
        """
        config = options.get("config")
        if not isinstance(config, Config):
            where = pretrained_model_name_or_path if config is None else config
            config = AutoConfig.from_pretrained(
                where, **{name: options[name] for name in _HUB_ARGUMENTS if name in options}
            )
        return cls._class_for(config).from_pretrained(pretrained_model_name_or_path, *model_args, **options)

    @classmethod
    def _class_for(cls, config: Config) -> type[PreTrainedModel]:
        if config.model_type not in cls.models:
            raise CheckpointError(
                f"{cls.__name__} has no class for model_type {config.model_type!r}; it has {', '.join(cls.models)}."
            )
        model_class: type[PreTrainedModel] = cls.models[config.model_type]
        return model_class


class AutoModel(_AutoModel):
    """The backbone, without a head."""

    models = ClassTable(
        {
            "albert": "AlbertModel",
            "bart": "BartModel",
            "bert": "BertModel",
            "dinov2": "Dinov2Model",
            "distilbert": "DistilBertModel",
            "electra": "ElectraModel",
            "gpt2": "GPT2Model",
            "gpt_neo": "GPTNeoModel",
            "gpt_neox": "GPTNeoXModel",
            "llama": "LlamaModel",
            "mistral": "MistralModel",
            "modernbert": "ModernBertModel",
            "openai-gpt": "OpenAIGPTModel",
            "qwen2": "Qwen2Model",
            "roberta": "RobertaModel",
            "t5": "T5Model",
            "vit": "ViTModel",
            "xlm-roberta": "XLMRobertaModel",
        }
    )


class AutoModelForPreTraining(_AutoModel):
    """The model with the heads that it was pre-trained with."""

    models = ClassTable(
        {
            "albert": "AlbertForPreTraining",
            "bart": "BartForConditionalGeneration",
            "bert": "BertForPreTraining",
            "distilbert": "DistilBertForMaskedLM",
            "electra": "ElectraForPreTraining",
            "gpt2": "GPT2LMHeadModel",
            "openai-gpt": "OpenAIGPTLMHeadModel",
            "roberta": "RobertaForMaskedLM",
            "t5": "T5ForConditionalGeneration",
            "xlm-roberta": "XLMRobertaForMaskedLM",
        }
    )


class AutoModelForMaskedLM(_AutoModel):
    """Fills in masked tokens."""

    models = ClassTable(
        {
            "albert": "AlbertForMaskedLM",
            "bart": "BartForConditionalGeneration",
            "bert": "BertForMaskedLM",
            "distilbert": "DistilBertForMaskedLM",
            "electra": "ElectraForMaskedLM",
            "modernbert": "ModernBertForMaskedLM",
            "roberta": "RobertaForMaskedLM",
            "xlm-roberta": "XLMRobertaForMaskedLM",
        }
    )


class AutoModelForCausalLM(_AutoModel):
    """Predicts the next token."""

    models = ClassTable(
        {
            "bart": "BartForCausalLM",
            "bert": "BertLMHeadModel",
            "electra": "ElectraForCausalLM",
            "gpt2": "GPT2LMHeadModel",
            "gpt_neo": "GPTNeoForCausalLM",
            "gpt_neox": "GPTNeoXForCausalLM",
            "llama": "LlamaForCausalLM",
            "mistral": "MistralForCausalLM",
            "openai-gpt": "OpenAIGPTLMHeadModel",
            "qwen2": "Qwen2ForCausalLM",
            "roberta": "RobertaForCausalLM",
            "xlm-roberta": "XLMRobertaForCausalLM",
        }
    )


class AutoModelForSeq2SeqLM(_AutoModel):
    """Writes a text, given another one."""

    models = ClassTable({"bart": "BartForConditionalGeneration", "t5": "T5ForConditionalGeneration"})


class AutoModelForNextSentencePrediction(_AutoModel):
    """Tells whether one sentence follows another."""

    models = ClassTable({"bert": "BertForNextSentencePrediction"})


class AutoModelForSequenceClassification(_AutoModel):
    """Classifies texts, or pairs of texts."""

    models = ClassTable(
        {
            "albert": "AlbertForSequenceClassification",
            "bart": "BartForSequenceClassification",
            "bert": "BertForSequenceClassification",
            "distilbert": "DistilBertForSequenceClassification",
            "electra": "ElectraForSequenceClassification",
            "gpt2": "GPT2ForSequenceClassification",
            "gpt_neo": "GPTNeoForSequenceClassification",
            "gpt_neox": "GPTNeoXForSequenceClassification",
            "llama": "LlamaForSequenceClassification",
            "mistral": "MistralForSequenceClassification",
            "modernbert": "ModernBertForSequenceClassification",
            "openai-gpt": "OpenAIGPTForSequenceClassification",
            "qwen2": "Qwen2ForSequenceClassification",
            "roberta": "RobertaForSequenceClassification",
            "t5": "T5ForSequenceClassification",
            "xlm-roberta": "XLMRobertaForSequenceClassification",
        }
    )


class AutoModelForTokenClassification(_AutoModel):
    """Classifies tokens."""

    models = ClassTable(
        {
            "albert": "AlbertForTokenClassification",
            "bert": "BertForTokenClassification",
            "distilbert": "DistilBertForTokenClassification",
            "electra": "ElectraForTokenClassification",
            "gpt2": "GPT2ForTokenClassification",
            "gpt_neo": "GPTNeoForTokenClassification",
            "gpt_neox": "GPTNeoXForTokenClassification",
            "llama": "LlamaForTokenClassification",
            "mistral": "MistralForTokenClassification",
            "modernbert": "ModernBertForTokenClassification",
            "qwen2": "Qwen2ForTokenClassification",
            "roberta": "RobertaForTokenClassification",
            "t5": "T5ForTokenClassification",
            "xlm-roberta": "XLMRobertaForTokenClassification",
        }
    )


class AutoModelForQuestionAnswering(_AutoModel):
    """Finds answers in a text."""

    models = ClassTable(
        {
            "albert": "AlbertForQuestionAnswering",
            "bart": "BartForQuestionAnswering",
            "bert": "BertForQuestionAnswering",
            "distilbert": "DistilBertForQuestionAnswering",
            "electra": "ElectraForQuestionAnswering",
            "gpt2": "GPT2ForQuestionAnswering",
            "gpt_neo": "GPTNeoForQuestionAnswering",
            "gpt_neox": "GPTNeoXForQuestionAnswering",
            "llama": "LlamaForQuestionAnswering",
            "mistral": "MistralForQuestionAnswering",
            "modernbert": "ModernBertForQuestionAnswering",
            "qwen2": "Qwen2ForQuestionAnswering",
            "roberta": "RobertaForQuestionAnswering",
            "t5": "T5ForQuestionAnswering",
            "xlm-roberta": "XLMRobertaForQuestionAnswering",
        }
    )


class AutoModelForMultipleChoice(_AutoModel):
    """Chooses among continuations."""

    models = ClassTable(
        {
            "albert": "AlbertForMultipleChoice",
            "bert": "BertForMultipleChoice",
            "distilbert": "DistilBertForMultipleChoice",
            "electra": "ElectraForMultipleChoice",
            "modernbert": "ModernBertForMultipleChoice",
            "roberta": "RobertaForMultipleChoice",
            "xlm-roberta": "XLMRobertaForMultipleChoice",
        }
    )


class AutoModelForImageClassification(_AutoModel):
    """Tells what an image shows."""

    models = ClassTable({"dinov2": "Dinov2ForImageClassification", "vit": "ViTForImageClassification"})


class AutoModelForMaskedImageModeling(_AutoModel):
    """Paints in the hidden parts of an image."""

    models = ClassTable({"vit": "ViTForMaskedImageModeling"})
