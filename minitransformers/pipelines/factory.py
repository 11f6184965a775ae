"""pipeline(task, model=…): the model and its tokenizer, loaded and put together for a task."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from typing import Any

import torch

from minitransformers import auto
from minitransformers.auto import AutoConfig
from minitransformers.configs.config import Config
from minitransformers.errors import CheckpointError, InputError, MinitransformersError, warn
from minitransformers.files import loading
from minitransformers.images.processor import AutoImageProcessor
from minitransformers.pipelines.base import Pipeline
from minitransformers.pipelines.registry import PIPELINE_REGISTRY, Task
from minitransformers.tokenization import AutoTokenizer

# The end of an architecture's name -> its task, where none is given; the first that fits counts.
TASKS_OF_HEADS = {
    "ForMaskedLM": "fill-mask",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForImageClassification": "image-classification",
    "ForConditionalGeneration": "text2text-generation",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "Model": "feature-extraction",
}


def pipeline(
    task: str | None = None,
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    feature_extractor: Any = None,
    image_processor: Any = None,
    video_processor: Any = None,
    processor: Any = None,
    revision: str | None = None,
    use_fast: bool = True,
    token: str | bool | None = None,
    device: int | str | torch.device | None = None,
    device_map: Any = None,
    dtype: Any = "auto",
    trust_remote_code: bool | None = None,
    model_kwargs: dict[str, Any] | None = None,
    pipeline_class: Any = None,
    **kwargs: Any,
) -> Any:
    """The pipeline of a task: call it with an input, or with a list, a data set or a generator of them.

        classify = pipeline("text-classification", model="distilbert/distilbert-base-uncased-finetuned-sst-2-english")
        classify("I love it.")

    Args:
        task: "fill-mask", "text-classification" ("sentiment-analysis"), "token-classification" ("ner"),
            "question-answering", "feature-extraction", "sentence-embedding", "sentence-similarity", "semantic-search",
            "zero-shot-classification", "text-generation", "text2text-generation", "summarization", "translation" (or
            "translation_en_to_fr"), "image-classification", "image-feature-extraction", or one of your own. By default
            the task that the model was trained for, by the architecture in its config.json.
        model: a model, a directory, or a name on a hub; by default a common model for the task.
        config: a configuration for the model, or where to read one.
        tokenizer, image_processor: an object, or where to load one; by default where the model is loaded from.
            `feature_extractor` is the old name of `image_processor`.
        video_processor, processor: only None.
        revision, token: of the hub.
        device: -1 or "cpu", a number or "cuda:1", …; by default the first accelerator, if there is one.
        device_map, dtype, model_kwargs: of the model's `from_pretrained`.
        use_fast, trust_remote_code: have no effect.
        pipeline_class: a class to use in place of the task's own.
        kwargs: of the pipeline's class: `batch_size`, and defaults for the keywords of a call.

    Raises:
        UnknownNameError: there is no such task; the message has the nearest.
        CheckpointError: the checkpoint has no head for the task. (transformers adds a random one, and warns.)
        MissingFileError: a file is missing, or the hub cannot be reached.
    """
    if task is None and model is None:
        raise InputError("Pass a task, a model, or both: pipeline('fill-mask', model=…).")
    if model is None and (tokenizer is not None or feature_extractor is not None or image_processor is not None):
        raise InputError("Pass model=… too: a tokenizer belongs to one model.")
    options = {"revision": revision, "token": token, "local_files_only": kwargs.pop("local_files_only", False)}
    kwargs.pop("code_revision", None)
    weights = dict(model_kwargs or {})
    dtype = _one_of(
        "dtype", dtype, kwargs.pop("torch_dtype", None), weights.pop("dtype", weights.pop("torch_dtype", None))
    )
    device_map = _one_of("device_map", device_map, weights.pop("device_map", None))

    model = fspath(model) if isinstance(model, PathLike) else model
    if isinstance(config, (str, PathLike)):
        config = AutoConfig.from_pretrained(config, **options)
    if task is None:
        task = _task_of(model, config, options)
    found = PIPELINE_REGISTRY.find(task)
    if model is None:
        model, options["revision"] = _default_of(task, found, revision)
    origin = model if isinstance(model, str) else None
    if isinstance(model, str):
        model = _load_model(task, found, model, config, dtype=dtype, device_map=device_map, **options, **weights)
    implementation = found.implementation if pipeline_class is None else pipeline_class
    image_processor = feature_extractor if image_processor is None else image_processor
    cache: dict[str, Any] = {name: weights[name] for name in ("cache_dir", "subfolder") if name in weights}
    places = {
        "tokenizer": (AutoTokenizer, tokenizer, implementation._load_tokenizer),
        "image_processor": (AutoImageProcessor, image_processor, implementation._load_image_processor),
    }
    for name, (loader, given, is_needed) in places.items():
        kwargs[name] = _load_part(name, loader, given, origin, is_needed, {**options, **cache})
    if video_processor is not None or processor is not None:
        raise InputError("video_processor and processor are not supported: leave them out.")
    made: Pipeline = implementation(model=model, task=task, device=device, **kwargs)
    return made


def _one_of(name: str, *values: Any) -> Any:
    """The value that is given; "auto" and None are defaults.

    Raises:
        InputError: two are given.
    """
    given = [value for value in values if value not in (None, "auto")]
    if len(given) > 1:
        raise InputError(f"{name} is given twice, directly and in model_kwargs: leave one out.")
    return given[0] if given else values[0]


def _task_of(model: Any, config: Any, options: dict[str, Any]) -> str:
    """The task that a model was trained for.

    Raises:
        InputError: its architecture is not known.
    """
    if isinstance(model, str):
        config = AutoConfig.from_pretrained(model, **options) if config is None else config
        names = list(config.architectures or [])
    else:
        names = [parent.__name__ for parent in type(model).__mro__]
    for name in names:
        for ending, task in TASKS_OF_HEADS.items():
            if name.endswith(ending):
                image_model = task == "feature-extraction" and name.startswith(("ViT", "Dinov2"))
                return "image-feature-extraction" if image_model else task
    raise InputError(
        f"No task is known for a model of the architecture {names or 'that its config.json lacks'}: pass one."
    )


def _default_of(task: str, found: Task, revision: str | None) -> tuple[str, str | None]:
    if found.default is None:
        raise InputError(f"The task {task!r} has no default model: pass model=….")
    name, known = found.default
    warn(f"No model is given for {task}: {name} is used. Pass model=… in a program that must not change.")
    return name, known if revision is None else revision


def _load_model(task: str, found: Task, name: str, config: Any, **options: Any) -> Any:
    """The checkpoint in the first of the task's classes that knows its family.

    Raises:
        CheckpointError: no class does, or the checkpoint lacks the head.
    """
    config = config if isinstance(config, Config) else AutoConfig.from_pretrained(name, **_for_config(options))
    for loader in found.models:
        table = getattr(loader, "models", None)
        if table is not None and config.model_type not in table:
            continue
        with _without_report():
            model, info = loader.from_pretrained(name, config=config, output_loading_info=True, **options)
        is_backbone = loader in (auto.AutoModel, auto.AutoModelForTextEncoding)
        if missing := [] if is_backbone else sorted(info["missing_keys"]):
            raise CheckpointError(
                f"{name!r} has no head for {task}: its weights lack {', '.join(missing[:3])}. It is a "
                f"{', '.join(config.architectures or [config.model_type])}: fine-tune it for the task, or pass another "
                f"model."
            )
        return model
    raise CheckpointError(
        f"{name!r} is of model_type {config.model_type!r}, which has no model for {task}. Known are "
        f"{', '.join(sorted({kind for loader in found.models for kind in getattr(loader, 'models', ())}))}."
    )


@contextmanager
def _without_report() -> Iterator[None]:
    """Hold back the log of weights that a checkpoint lacks: those of a head are an error, and others are not used."""
    logger = logging.getLogger(loading.__name__)

    def hold_back(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(hold_back)
    try:
        yield
    finally:
        logger.removeFilter(hold_back)


def _for_config(options: dict[str, Any]) -> dict[str, Any]:
    names = ("revision", "token", "local_files_only", "cache_dir", "subfolder", "force_download")
    return {name: options[name] for name in names if name in options}


def _load_part(
    name: str, loader: Any, given: Any, origin: str | None, is_needed: bool | None, options: dict[str, Any]
) -> Any:
    """A tokenizer or an image processor: the given one, one from the given place, or one from the model's.

    Raises:
        InputError: none is given, and the model is an object.
    """
    if is_needed is False or (given is not None and not isinstance(given, (str, PathLike, tuple))):
        return given
    place, further = given if isinstance(given, tuple) else (origin if given is None else given, {})
    if place is None:
        if is_needed:
            raise InputError(f"Pass {name}=… too: the model is an object, which does not tell where to load one.")
        return None
    try:
        return loader.from_pretrained(place, **{**options, **further})
    except MinitransformersError:
        if is_needed or given is not None:
            raise
        return None
