"""AutoConfig and AutoModel…: the right class for a checkpoint, by the model_type of its config.json.

A new family is one line in `PREFIXES` and a word in the table of each task that it has a class for. The tables hold
names; a family's module is imported when one of its classes is first needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, overload

from minitransformers import outputs
from minitransformers.compat.keywords import LOADING_WEIGHTS, remove_no_ops
from minitransformers.configs.config import CONFIG_FILE, HUB_OPTIONS, Config
from minitransformers.errors import CheckpointError, InputError, UnknownNameError, nearest, shown
from minitransformers.models.base import tasks
from minitransformers.models.base.adapters import find_adapter
from minitransformers.models.base.pretrained import PreTrainedModel

Model = TypeVar("Model")  # what an Auto class returns, for type checkers

# model_type -> the beginning of the names of its classes, and the module in `models/` that has them
PREFIXES = {
    "albert": ("Albert", "albert"),
    "bart": ("Bart", "bart"),
    "bert": ("Bert", "bert"),
    "dinov2": ("Dinov2", "dinov2"),
    "distilbert": ("DistilBert", "distilbert"),
    "electra": ("Electra", "electra"),
    "gpt2": ("GPT2", "gpt2"),
    "gpt_neo": ("GPTNeo", "gpt_neo"),
    "gpt_neox": ("GPTNeoX", "gpt_neox"),
    "llama": ("Llama", "llama"),
    "mistral": ("Mistral", "mistral"),
    "modernbert": ("ModernBert", "modernbert"),
    "openai-gpt": ("OpenAIGPT", "openai_gpt"),
    "qwen2": ("Qwen2", "qwen2"),
    "roberta": ("Roberta", "roberta"),
    "t5": ("T5", "t5"),
    "vit": ("ViT", "vit"),
    "xlm-roberta": ("XLMRoberta", "xlm_roberta"),
}


class ClassTable(Mapping[str, Any]):
    """model_type -> class; a user's own classes can be registered.

    Args:
        ending: how the classes are called after the family's prefix: "ForMaskedLM".
        model_types: the families that have such a class, in one text.
        exceptions: model_type -> ending, where a family's class is called otherwise.
    """

    def __init__(self, ending: str, model_types: str, exceptions: Mapping[str, str] | None = None) -> None:
        endings = {**dict.fromkeys(model_types.split(), ending), **(exceptions or {})}
        self._endings = dict(sorted(endings.items()))
        self._registered: dict[str, type] = {}

    def __getitem__(self, model_type: str) -> Any:
        if model_type in self._registered:
            return self._registered[model_type]
        ending = self._endings[model_type]  # an unknown model_type is a KeyError here
        prefix, module = PREFIXES[model_type]
        return getattr(import_module(f"minitransformers.models.{module}"), prefix + ending)

    def __contains__(self, model_type: object) -> bool:
        return model_type in self._registered or model_type in self._endings

    def __iter__(self) -> Iterator[str]:
        return iter([*self._endings, *(name for name in self._registered if name not in self._endings)])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def names(self) -> dict[str, str]:
        """model_type -> name of the class."""
        return {name: PREFIXES[name][0] + ending for name, ending in self._endings.items()}

    def register(self, model_type: str, value: type, exist_ok: bool = False) -> None:
        """Add a user's class.

        Raises:
            InputError: the model_type is in the table, and `exist_ok` is False.
        """
        if model_type in self and not exist_ok:
            raise InputError(
                f"model_type {model_type!r} is already used by {self[model_type].__name__}: choose another."
            )
        self._registered[model_type] = value


CONFIG_MAPPING = ClassTable("Config", " ".join(PREFIXES))


class ModelMapping(Mapping[type[Config], Any]):
    """configuration class -> model class: a `ClassTable` as the reference's scripts read it."""

    def __init__(self, table: ClassTable) -> None:
        self._table = table

    def __getitem__(self, config_class: type[Config]) -> Any:
        model_type = config_class.model_type
        if model_type not in self._table or CONFIG_MAPPING.get(model_type) is not config_class:
            raise UnknownNameError(f"There is no model class for {config_class.__name__}.")
        return self._table[model_type]

    def __iter__(self) -> Iterator[type[Config]]:
        return (CONFIG_MAPPING[model_type] for model_type in self._table)

    def __len__(self) -> int:
        return len(self._table)

    def register(self, key: type[Config], value: type, exist_ok: bool = False) -> None:
        """Add a user's class; see `ClassTable.register`."""
        self._table.register(key.model_type, value, exist_ok)


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
        if model_type not in CONFIG_MAPPING:
            raise UnknownNameError(
                f"There is no model_type {model_type!r} here; there are {', '.join(CONFIG_MAPPING)}."
                f"{nearest(model_type, CONFIG_MAPPING)}"
            )
        config: Config = CONFIG_MAPPING[model_type](**fields)
        return config

    @overload
    @staticmethod
    def from_pretrained(
        pretrained_model_name_or_path: str | PathLike[str],
        *,
        return_unused_kwargs: Literal[False] = False,
        **options: Any,
    ) -> Config: ...

    @overload
    @staticmethod
    def from_pretrained(
        pretrained_model_name_or_path: str | PathLike[str], *, return_unused_kwargs: Literal[True], **options: Any
    ) -> tuple[Config, dict[str, Any]]: ...

    @staticmethod
    def from_pretrained(pretrained_model_name_or_path: str | PathLike[str], **options: Any) -> Any:
        """Read config.json of a directory or a hub's repository into the class that its model_type names.

        `options` are those of `Config.from_pretrained`, fields that override the file included.

        Raises:
            CheckpointError: the file does not say its model_type, or one that is not covered.
        """
        name = str(pretrained_model_name_or_path)
        content, overrides = Config.get_config_dict(pretrained_model_name_or_path, **options)
        config_class: type[Config] = CONFIG_MAPPING[_model_type(content, name)]
        return config_class.from_dict(content, **{"name_or_path": name, **overrides})

    @staticmethod
    def register(model_type: str, config: type[Config], exist_ok: bool = False) -> None:
        """Let AutoConfig find a user's own configuration class.

        Raises:
            InputError: the class has another model_type, or the model_type is taken.
        """
        if getattr(config, "model_type", None) != model_type:
            raise InputError(
                f"model_type={model_type!r} must be {config.__name__}.model_type, which is "
                f"{getattr(config, 'model_type', None)!r}: set the class attribute."
            )
        CONFIG_MAPPING.register(model_type, config, exist_ok)


def _model_type(content: dict[str, Any], name: str) -> str:
    """The model_type in a config.json or, in old files without one, the one that other names in it suggest.

    Raises:
        CheckpointError: nothing suggests one, or it is not covered.
    """
    model_type = content.get("model_type")
    if model_type is None:
        # Files from before there were Auto classes do not say it; an architecture ("BertModel") or the directory's name
        # may, as a word of its own: "roberta" is not "bert".
        architectures = content.get("architectures")
        hints = [*(architectures if isinstance(architectures, list) else ()), Path(name).name]
        # Longest first: "xlm-roberta" contains "roberta".
        known_types = sorted(CONFIG_MAPPING, key=len, reverse=True)
        words = [(known, rf"(?<![A-Za-z])(?i:{known})(?![a-z])") for known in known_types]
        model_type = next((known for hint in hints for known, word in words if re.search(word, str(hint))), None)
    if model_type is None:
        raise CheckpointError(
            f"{CONFIG_FILE} of {name!r} has no model_type: use the classes of its family "
            f'({", ".join(CONFIG_MAPPING)}), or add "model_type" to the file.'
        )
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        raise CheckpointError(
            f"{name!r} is of model_type {shown(model_type)}, which is not covered; covered are "
            f"{', '.join(CONFIG_MAPPING)}."
        )
    return model_type


class _AutoModel(Generic[Model]):
    """Chooses a model class by model_type; each subclass has the table of one task."""

    models: ClassVar[ClassTable]
    _model_mapping: ClassVar[ModelMapping]

    def __init_subclass__(cls) -> None:
        cls._model_mapping = ModelMapping(cls.models)

    def __init__(self) -> None:
        name = type(self).__name__
        raise TypeError(f"{name} only chooses a class: call {name}.from_pretrained(…) or {name}.from_config(…).")

    @classmethod
    def from_config(cls, config: Config, **options: Any) -> Model:
        """A newly initialized model for this task, of the family of `config`.

        Args:
            config: which is copied, and left as it is.
            options: `attn_implementation`; `dtype` (or `torch_dtype`), the type of the weights, `config.dtype` unless
                given; and arguments of the model's constructor.
        """
        if not isinstance(config, Config):
            raise InputError(f"{cls.__name__}.from_config needs a configuration, got {type(config).__name__}.")
        options = remove_no_ops(f"{cls.__name__}.from_config", options)
        model: Any = cls._class_for(config)._from_config(config, **options)
        return model  # type: ignore[no-any-return]

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | PathLike[str],
        *model_args: Any,
        output_loading_info: Literal[False] = False,
        **options: Any,
    ) -> Model: ...

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | PathLike[str],
        *model_args: Any,
        output_loading_info: Literal[True],
        **options: Any,
    ) -> tuple[Model, dict[str, Any]]: ...

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | PathLike[str] | None, *model_args: Any, **options: Any
    ) -> Any:
        """Load a checkpoint into the class of its family for this task; see `PreTrainedModel.from_pretrained`."""
        options = remove_no_ops(f"{cls.__name__}.from_pretrained", options, LOADING_WEIGHTS)
        config: Any = options.get("config")
        if not isinstance(config, Config):
            hub = {name: options[name] for name in HUB_OPTIONS if name in options}
            if config is None:
                source, _ = find_adapter(pretrained_model_name_or_path, **hub)
                config, hub["revision"], hub["subfolder"] = source.name, source.revision, source.subfolder
            config = AutoConfig.from_pretrained(config, **hub)
        return cls._class_for(config).from_pretrained(pretrained_model_name_or_path, *model_args, **options)

    @classmethod
    def register(cls, config_class: type[Config], model_class: type[PreTrainedModel], exist_ok: bool = False) -> None:
        """Let this class find a user's own model class.

        Raises:
            InputError: the model is built from another configuration class, or the model_type is taken.
        """
        built_from = getattr(model_class, "config_class", None)
        if built_from is not None and built_from.__name__ != config_class.__name__:
            raise InputError(
                f"{model_class.__name__} is built from a {built_from.__name__}, not a {config_class.__name__}: set its "
                f"class attribute config_class."
            )
        cls._model_mapping.register(config_class, model_class, exist_ok)

    @classmethod
    def _class_for(cls, config: Config) -> type[PreTrainedModel]:
        if config.model_type not in cls.models:
            raise CheckpointError(
                f"{cls.__name__} has no class for model_type {config.model_type!r}; it has {', '.join(cls.models)}."
            )
        model_class: type[PreTrainedModel] = cls.models[config.model_type]
        return model_class


class AutoModel(_AutoModel[tasks.TaskModel[tasks.BackboneOutput]]):
    """The backbone, without a head."""

    models = ClassTable("Model", " ".join(PREFIXES))


class AutoModelForPreTraining(_AutoModel[tasks.GenerativeModel[tasks.PreTrainingOutput]]):
    """The model with the heads that it was pre-trained with."""

    models = ClassTable(
        "ForPreTraining",
        "albert bert electra",
        {
            "bart": "ForConditionalGeneration",
            "distilbert": "ForMaskedLM",
            "gpt2": "LMHeadModel",
            "openai-gpt": "LMHeadModel",
            "roberta": "ForMaskedLM",
            "t5": "ForConditionalGeneration",
            "xlm-roberta": "ForMaskedLM",
        },
    )


class AutoModelForMaskedLM(_AutoModel[tasks.TaskModel[outputs.MaskedLMOutput]]):
    """Predicts masked tokens."""

    models = ClassTable(
        "ForMaskedLM",
        "albert bert distilbert electra modernbert roberta xlm-roberta",
        {"bart": "ForConditionalGeneration"},
    )


class AutoModelForCausalLM(_AutoModel[tasks.GenerativeModel[outputs.CausalLMOutputWithCrossAttentions]]):
    """Predicts the next token."""

    models = ClassTable(
        "ForCausalLM",
        "bart electra gpt_neo gpt_neox llama mistral qwen2 roberta xlm-roberta",
        dict.fromkeys(("bert", "gpt2", "openai-gpt"), "LMHeadModel"),
    )


class AutoModelForSeq2SeqLM(_AutoModel[tasks.GenerativeModel[outputs.Seq2SeqLMOutput]]):
    """Writes a text, given another one."""

    models = ClassTable("ForConditionalGeneration", "bart t5")


class AutoModelForNextSentencePrediction(_AutoModel[tasks.TaskModel[outputs.NextSentencePredictorOutput]]):
    """Classifies whether one sentence follows another."""

    models = ClassTable("ForNextSentencePrediction", "bert")


class AutoModelForSequenceClassification(_AutoModel[tasks.TaskModel[tasks.ClassifierOutput]]):
    """Classifies texts, or pairs of texts."""

    models = ClassTable(
        "ForSequenceClassification",
        "albert bart bert distilbert electra gpt2 gpt_neo gpt_neox llama mistral modernbert openai-gpt qwen2 "
        "roberta t5 xlm-roberta",
    )


class AutoModelForTokenClassification(_AutoModel[tasks.TaskModel[outputs.TokenClassifierOutput]]):
    """Classifies tokens."""

    models = ClassTable(
        "ForTokenClassification",
        "albert bert distilbert electra gpt2 gpt_neo gpt_neox llama mistral modernbert qwen2 roberta t5 xlm-roberta",
    )


class AutoModelForQuestionAnswering(_AutoModel[tasks.TaskModel[tasks.SpanOutput]]):
    """Finds answers in a text."""

    models = ClassTable(
        "ForQuestionAnswering",
        "albert bart bert distilbert electra gpt2 gpt_neo gpt_neox llama mistral modernbert qwen2 roberta t5 "
        "xlm-roberta",
    )


class AutoModelForMultipleChoice(_AutoModel[tasks.TaskModel[outputs.MultipleChoiceModelOutput]]):
    """Chooses among continuations."""

    models = ClassTable("ForMultipleChoice", "albert bert distilbert electra modernbert roberta xlm-roberta")


class AutoModelForTextEncoding(_AutoModel[tasks.TaskModel[tasks.BackboneOutput]]):
    """The encoder, whose hidden states represent a text."""

    models = ClassTable("Model", "albert bert distilbert electra roberta xlm-roberta", {"t5": "EncoderModel"})


class AutoModelForImageClassification(_AutoModel[tasks.TaskModel[outputs.ImageClassifierOutput]]):
    """Classifies images."""

    models = ClassTable("ForImageClassification", "dinov2 vit")


class AutoModelForMaskedImageModeling(_AutoModel[tasks.TaskModel[outputs.MaskedImageModelingOutput]]):
    """Reconstructs the masked patches of an image."""

    models = ClassTable("ForMaskedImageModeling", "vit")


# The reference's names for these tables.
MODEL_MAPPING = AutoModel._model_mapping
MODEL_FOR_PRETRAINING_MAPPING = AutoModelForPreTraining._model_mapping
MODEL_FOR_MASKED_LM_MAPPING = AutoModelForMaskedLM._model_mapping
MODEL_FOR_CAUSAL_LM_MAPPING = AutoModelForCausalLM._model_mapping
MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING = AutoModelForSeq2SeqLM._model_mapping
MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING = AutoModelForNextSentencePrediction._model_mapping
MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING = AutoModelForSequenceClassification._model_mapping
MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING = AutoModelForTokenClassification._model_mapping
MODEL_FOR_QUESTION_ANSWERING_MAPPING = AutoModelForQuestionAnswering._model_mapping
MODEL_FOR_MULTIPLE_CHOICE_MAPPING = AutoModelForMultipleChoice._model_mapping
MODEL_FOR_TEXT_ENCODING_MAPPING = AutoModelForTextEncoding._model_mapping
MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING = AutoModelForImageClassification._model_mapping
MODEL_FOR_MASKED_IMAGE_MODELING_MAPPING = AutoModelForMaskedImageModeling._model_mapping

# model_type -> name of the class, for each table
CONFIG_MAPPING_NAMES = CONFIG_MAPPING.names()
MODEL_MAPPING_NAMES = AutoModel.models.names()
MODEL_FOR_PRETRAINING_MAPPING_NAMES = AutoModelForPreTraining.models.names()
MODEL_FOR_MASKED_LM_MAPPING_NAMES = AutoModelForMaskedLM.models.names()
MODEL_FOR_CAUSAL_LM_MAPPING_NAMES = AutoModelForCausalLM.models.names()
MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES = AutoModelForSeq2SeqLM.models.names()
MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING_NAMES = AutoModelForNextSentencePrediction.models.names()
MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES = AutoModelForSequenceClassification.models.names()
MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES = AutoModelForTokenClassification.models.names()
MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES = AutoModelForQuestionAnswering.models.names()
MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES = AutoModelForMultipleChoice.models.names()
MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES = AutoModelForTextEncoding.models.names()
MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES = AutoModelForImageClassification.models.names()
MODEL_FOR_MASKED_IMAGE_MODELING_MAPPING_NAMES = AutoModelForMaskedImageModeling.models.names()
