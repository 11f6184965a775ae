"""The commands for tasks: from the options of the command line (task_commands.py) to printed answers."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import minitransformers
from minitransformers.assets import fetch_if_reachable
from minitransformers.auto import AutoConfig
from minitransformers.errors import InputError, MinitransformersError
from minitransformers.files.hub import Source
from minitransformers.files.reading import open_checkpoint
from minitransformers.pipelines.adapted import load_adapted
from minitransformers.pipelines.factory import TASKS_OF_HEADS, pipeline
from minitransformers.pipelines.texts import length_limit
from minitransformers.tokenization import AutoTokenizer

_BATCH = 8


def fill_mask(options: argparse.Namespace) -> int:
    """Print the tokens for each mask of each text."""
    fill = _load("fill-mask", options)
    texts = [text.replace("[MASK]", str(fill.tokenizer.mask_token)) for text in _texts(options)]
    targets = None if options.targets is None else [word.strip() for word in options.targets.split(",")]
    top_k = _count(options.top_k, 5)
    for text, answer in _answers(fill, texts, options, top_k=top_k, targets=targets):
        masks = answer if answer and isinstance(answer[0], list) else [answer]
        rows = [f"{row['score']:.4f}  {row['token_str']}\t{row['sequence']}" for mask in masks for row in mask]
        _print(options, {"text": text, "answers": answer}, [*([text] if len(texts) > 1 else []), *rows])
    return 0


def classify(options: argparse.Namespace) -> int:
    """Print the labels of each text."""
    texts = _texts(options)
    top_k = None if options.top_k == "all" else _count(options.top_k, 1)
    if options.labels is None:
        model = _load("text-classification", options)
        inputs: list[Any] = [_pair(text) if options.pairs else text for text in texts]
        found = _answers(model, inputs, options, top_k=top_k, truncation=options.truncate)
        answers = ((text, answer) for text, (_, answer) in zip(texts, found, strict=True))
    else:
        model = _load("zero-shot-classification", options)
        settings = {"candidate_labels": options.labels, "multi_label": options.multi_label}
        settings |= {} if options.template is None else {"hypothesis_template": options.template}
        found = _answers(model, texts, options, **settings)
        answers = ((text, _as_labels(answer)[: None if options.top_k is None else top_k]) for text, answer in found)
    for text, labels in answers:
        _print(options, {"text": text, "labels": labels}, [f"{x['score']:.4f}  {x['label']}\t{text}" for x in labels])
    return 0


def tag(options: argparse.Namespace) -> int:
    """Print the entities of each text with their characters."""
    model = _load("token-classification", options)
    texts = _texts(options)
    settings: dict[str, Any] = {"aggregation_strategy": options.strategy}
    if options.strategy != "none":
        limit = length_limit(model) or 1024
        settings["stride"] = min(16, limit // 4) if options.stride is None else options.stride
    for text, entities in _answers(model, texts, options, **settings):
        rows = [
            f"{each.get('entity_group', each.get('entity'))}\t{text[each['start'] : each['end']]}\t"
            f"{each['start']}-{each['end']}\t{each['score']:.4f}"
            for each in entities
        ]
        _print(options, {"text": text, "entities": entities}, [*([text] if len(texts) > 1 else []), *rows])
    return 0


def answer(options: argparse.Namespace) -> int:
    """Print the answers to each question, and reasons to doubt them."""
    model = _load("question-answering", options)
    if options.context is not None and options.file is not None:
        raise InputError("--context and --file contradict each other: pass only one of them.")
    context = options.context if options.context is not None else _whole(options.file)
    if not context.strip():
        raise InputError(f"The context, {options.file or 'the standard input'}, is empty.")
    inputs = [{"question": question, "context": context} for question in options.question]
    settings = {
        "top_k": _count(options.top_k, 1),
        "max_answer_len": options.max_length,
        "handle_impossible_answer": options.no_answer,
        "check_plausibility": True,
    }
    for given, found in _answers(model, inputs, options, **settings):
        rows = [] if len(inputs) == 1 else [given["question"]]
        answers = found if isinstance(found, list) else [found]
        for each in answers:
            text = each["answer"] or "(no answer in the text)"
            rows.append(f"{each['score']:.4f}  {text}\t{each['start']}-{each['end']}")
            rows += [f"        doubtful: {reason}" for reason in each["reasons"]]
        _print(options, {"question": given["question"], "answers": answers}, rows)
    return 0


def embed(options: argparse.Namespace) -> int:
    """Print the vector of each text, one a line."""
    model = _load("sentence-embedding", options)
    for text, vector in _answers(model, _texts(options), options, pooling=options.pooling):
        _print(options, {"text": text, "vector": vector}, [" ".join(f"{number:.6f}" for number in vector)])
    return 0


def search(options: argparse.Namespace) -> int:
    """Print the nearest texts to each query."""
    lines = _lines(options.file)
    found = _load("semantic-search", options, corpus=lines, pooling=options.pooling)
    top_k = _count(options.top_k, 5)
    for query in options.query:
        hits = found(query, top_k=top_k)
        rows = [f"{hit['score']:.4f}  {hit['text']}" for hit in hits]
        _print(options, {"query": query, "found": hits}, [*([query] if len(options.query) > 1 else []), *rows])
    return 0


def info(options: argparse.Namespace) -> int:
    """Print what a checkpoint is, by its files; the weights are not loaded."""
    config = AutoConfig.from_pretrained(options.model)
    weights = open_checkpoint(Source(options.model), None)
    architectures = list(config.architectures or [])
    tasks = [task for head, task in TASKS_OF_HEADS.items() if any(name.endswith(head) for name in architectures)][:1]
    tasks += _further_tasks(tasks, config)
    about: dict[str, Any] = {
        "model": options.model,
        "family": config.model_type,
        "architecture": ", ".join(architectures) or None,
        "tasks": tasks or None,
        "numbers": sum(math.prod(weights.shape(name)) for name in weights),
        "dtype": str(config.dtype).removeprefix("torch.") if config.dtype else None,
        "positions": getattr(config, "max_position_embeddings", None),
        "vocabulary": getattr(config, "vocab_size", None),
    }
    if any(name.endswith("Classification") for name in architectures):
        about["labels"] = list(config.id2label.values())
    try:
        loader: Any = AutoTokenizer
        about["tokenizer"] = type(loader.from_pretrained(options.model)).__name__
    except MinitransformersError:
        about["tokenizer"] = None
    summary = _summary(config, architectures)
    shown = {name: value for name, value in about.items() if value is not None}
    texts = {name: ", ".join(value) if isinstance(value, list) else str(value) for name, value in shown.items()}
    texts["numbers"] = f"{about['numbers']:,} in the weights' file"
    lines = [f"{name:<13} {value}" for name, value in texts.items()]
    if summary is not None:
        about["summary"] = summary.to_dict()
        lines += ["", *str(summary).splitlines()]
    _print(options, about, lines)
    return 0


def _summary(config: Any, architectures: list[str]) -> Any:
    """The table of the model's parts, from a model without numbers; None of a class that is not here."""
    model_class = getattr(minitransformers, architectures[0], None) if architectures else None
    if model_class is None:
        return None
    with torch.device("meta"):
        return model_class(config).summary()


def _further_tasks(tasks: list[str], config: Any) -> list[str]:
    if tasks == ["feature-extraction"]:
        is_of_images = getattr(config, "image_size", None) is not None
        return ["image-feature-extraction"] if is_of_images else ["sentence-embedding", "semantic-search"]
    labels = " ".join(config.id2label.values()).lower() if tasks == ["text-classification"] else ""
    return ["zero-shot-classification"] if "entail" in labels else []


# ---- what the commands share -----------------------------------------------------------------------------------------


def _load(task: str, options: argparse.Namespace, **settings: Any) -> Any:
    model = options.model
    if model is None and task in ("sentence-embedding", "semantic-search"):
        found = fetch_if_reachable("minilm")
        model = None if found is None else str(found)
    size = _BATCH if options.batch_size is None else options.batch_size
    device = options.device
    device = int(device) if device is not None and device.isdigit() else device
    with _in_options_words():
        if model is not None and _is_adapter(Path(model)):
            model, settings["tokenizer"] = load_adapted(task, Path(model)), model
        return pipeline(task, model, device=device, batch_size=size, progress=False, **settings)


def _is_adapter(directory: Path) -> bool:
    return (directory / "adapter_config.json").is_file() and not any(directory.glob("model*.safetensors"))


def _answers(model: Any, inputs: list[Any], options: argparse.Namespace, **settings: Any) -> Iterator[tuple[Any, Any]]:
    """Each input with its answer, as soon as it is there."""
    given = {name: value for name, value in settings.items() if value is not None or name == "top_k"}
    with _in_options_words():
        yield from zip(inputs, model(iter(inputs), **given), strict=True)


@contextmanager
def _in_options_words() -> Iterator[None]:
    """Errors name the options of the command line in place of arguments of Python."""
    try:
        yield
    except InputError as error:
        text = str(error)
        for argument, option in _OPTIONS.items():
            text = text.replace(argument, option)
        raise InputError(text) from error


_OPTIONS = {
    "pass truncation=True to cut it, or split it": "pass --truncate, where the command has it, or split it",
    "or pass batch_size=1": "or pass --batch-size 1",
    "batch_size=": "--batch-size ",
    "top_k=": "--top-k ",
    "max_answer_len=": "--max-length ",
    "stride=": "--stride ",
}


def _texts(options: argparse.Namespace) -> list[str]:
    """The texts of the command line, of files, or of the standard input, one a line; empty lines are left out.

    Raises:
        InputError: there are none.
    """
    return [*options.text, *(_lines(options.file) if options.file or not options.text else [])]


def _lines(files: list[str] | None) -> list[str]:
    if not files and sys.stdin.isatty():
        raise InputError("There is no text: pass it as an argument, with --file, or through a pipe.")
    contents = {name: _read(name) for name in files or ()} or {"": sys.stdin.read()}
    lines: list[str] = []
    for name, content in contents.items():
        found = [line for line in content.splitlines() if line.strip()]
        if not found:
            raise InputError(f"{name or 'The standard input'} is empty: there is no text to work on.")
        lines += found
    return lines


def _whole(file: str | None) -> str:
    if file is None and sys.stdin.isatty():
        raise InputError("There is no context: pass it with --context, with --file, or through a pipe.")
    return sys.stdin.read() if file is None else _read(file)


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is no text in UTF-8: {error.reason} at byte {error.start}.") from error


def _count(value: str | None, default: int) -> int:
    if value is None:
        return default
    if not value.isdigit() or int(value) < 1:
        raise InputError(f"--top-k {value} must be a whole number of at least 1.")
    return int(value)


def _pair(line: str) -> dict[str, str]:
    first, tab, second = line.partition("\t")
    if not tab:
        raise InputError(f"--pairs: the text {line[:60]!r} has no tab between its two texts.")
    return {"text": first, "text_pair": second}


def _as_labels(answer: Any) -> list[dict[str, Any]]:
    pairs = zip(answer["labels"], answer["scores"], strict=True)
    return [{"label": label, "score": score} for label, score in pairs]


def _print(options: argparse.Namespace, record: dict[str, Any], rows: list[str]) -> None:
    if options.json:
        print(json.dumps(record, ensure_ascii=False), flush=True)
        return
    for row in rows:
        print(row, flush=True)
