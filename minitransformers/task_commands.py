"""The options of the commands for tasks: `minitransformers fill-mask`, `classify`, `tag`, `answer`, `train`, …

Only the options are here, so that `--help` does not wait for PyTorch; pipelines/commands.py, recipes/commands.py
and converting.py run the commands.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module

Run = Callable[[argparse.Namespace], int]
Add = Callable[[str, str, Run], argparse.ArgumentParser]


def add_commands(add: Add) -> None:
    """Add the commands to the command line.

    Args:
        add: makes a command from its name, a line of help, and what runs it.
    """
    fill = add("fill-mask", "the tokens that fit best at [MASK] in each text", _later("fill_mask"))
    fill.add_argument("--targets", metavar="WORDS", help="only these words, with commas between them")
    _add_inputs(fill)
    _add_top_k(fill, "how many tokens (5)")

    classify = add("classify", "the label of each text", _later("classify"))
    classify.add_argument(
        "--labels", metavar="LABELS", help="labels of your own, with commas; needs a model for entailment"
    )
    classify.add_argument("--template", metavar="TEXT", help='with --labels: the sentence ("This example is {}.")')
    classify.add_argument("--multi-label", action="store_true", help="with --labels: several labels may be right")
    classify.add_argument("--pairs", action="store_true", help="each text is a pair, with a tab between its two texts")
    classify.add_argument("--truncate", action="store_true", help="cut texts that are too long for the model")
    _add_inputs(classify)
    _add_top_k(classify, "how many labels (1), 'all' for all of them")

    tag = add("tag", "the named entities in each text, or other labels of its words", _later("tag"))
    tag.add_argument(
        "--strategy",
        choices=("none", "simple", "first", "average", "max"),
        default="simple",
        help="how tokens become entities; none shows tokens (simple)",
    )
    tag.add_argument("--stride", type=int, metavar="N", help="tokens that two windows of a long text share (16)")
    _add_inputs(tag)

    answer = add("answer", "the part of a context that answers a question", _later("answer"))
    _takes(answer, "QUESTION …")
    answer.add_argument("question", nargs="+", metavar="QUESTION", help="one or several questions")
    answer.add_argument("--context", metavar="TEXT", help="the text that has the answers")
    answer.add_argument("--file", metavar="FILE", help="a file with this text; without both, the standard input")
    answer.add_argument("--no-answer", action="store_true", help="allow that the text does not answer (SQuAD 2)")
    answer.add_argument("--max-length", type=int, metavar="N", default=15, help="longest answer, in tokens (15)")
    _add_model(answer)
    _add_top_k(answer, "how many answers (1)")

    embed = add("embed", "a vector of numbers for each text", _later("embed"))
    _add_inputs(embed)
    _add_pooling(embed)

    search = add("search", "the lines of files that are nearest to a query in meaning", _later("search"))
    _takes(search, "QUERY …")
    search.add_argument("query", nargs="+", metavar="QUERY", help="one or several queries")
    about = "a file with a text in each line; without it, the lines of the standard input"
    search.add_argument("--file", action="append", metavar="FILE", help=about)
    _add_model(search)
    _add_pooling(search)
    _add_top_k(search, "how many texts (5)")

    _add_train(add)
    _add_convert(add)

    info = add("info", "what a model is, and the tasks that it can do", _later("info"))
    _takes(info, "MODEL")
    info.add_argument("model", metavar="MODEL", help="a directory, or a name on a hub")
    info.add_argument("--json", action="store_true", help="print JSON")


def _add_train(add: Add) -> None:
    about = "fine-tune or pre-train a model, by a recipe in YAML, by options, or by both (options count more)"
    train = add("train", about, _later("train", "recipes.commands"))
    _takes(train, "[RECIPE]")
    train.add_argument(
        "recipe", nargs="?", metavar="RECIPE", help="a YAML file of the settings below: 'task: classify'"
    )
    texts = {
        "task": "classify, tag, answer, generate or chat; to pre-train: mlm, clm, spans or infilling",
        "data": "rows to learn from: .csv, .tsv, .jsonl, .json, .conll, .txt, or the name of a data set on a hub",
        "output": "the directory for the model and its figures",
        "validation": "rows to choose the best epoch on (a tenth of the data)",
        "test": "rows that are measured once, at the end",
        "model": "a directory, or a name on a hub (MiniLM, a small BERT)",
        "method": "what is trained: full, head, lora, dora, ia3, bottleneck, prefix or prompt (full)",
        "text": "the column of texts (text)",
        "pair": "the column of second texts, for pairs",
        "label": "the column of labels (label)",
    }
    numbers = {
        "size": "rank, size or length of the adapter",
        "epochs": "passes over the rows (3)",
        "batch-size": "rows in a batch (16)",
        "max-length": "tokens after which texts are cut (128)",
        "limit": "use only so many rows, drawn at random",
        "seed": "of the order, and of new weights (0)",
    }
    _add_settings(train, texts, numbers)
    train.add_argument("--learning-rate", type=float, metavar="X", help="at its highest (the method's)")
    _add_pretraining(train)
    train.add_argument("--progress", action="store_const", const=True, help="show a bar")
    train.add_argument("--json", action="store_true", help="print one line of JSON at the end")


def _add_settings(parser: argparse._ActionsContainer, texts: dict[str, str], numbers: dict[str, str]) -> None:
    """Options that take a text or a whole number: what each is about, by name."""
    for name, about in texts.items():
        parser.add_argument(f"--{name}", metavar=name.upper(), help=about)
    for name, about in numbers.items():
        parser.add_argument(f"--{name}", type=int, metavar="N", help=about)


def _add_pretraining(train: argparse.ArgumentParser) -> None:
    group = train.add_argument_group(
        "pre-training (tasks mlm, clm, spans, infilling)",
        "--data is then a file, a directory or a pattern of texts, and --validation the share that is held out (0.05)",
    )
    texts = {
        "config": "the configuration of a new model, in place of --model",
        "tokenizer": "a directory, or a name on a hub (the model's)",
        "documents": "how files are parted into documents: file, line or 'blank line' (file)",
        "precision": "fp32, bf16 or fp16 (fp32)",
        "train": "all parameters, or the head alone (all)",
    }
    numbers = {
        "steps": "how often the weights are changed (1000)",
        "accumulation": "batches that make up one step (1)",
        "workers": "processes that tokenize (0: none but this one)",
    }
    _add_settings(group, texts, numbers)
    group.add_argument("--masked", type=float, metavar="X", help="the share of tokens in gaps (0.15; infilling 0.3)")
    group.add_argument("--whole-words", action="store_const", const=True, help="mask whole words (mlm)")
    group.add_argument("--stream", action="store_const", const=True, help="don't download the whole of a data set")


def _add_convert(add: Add) -> None:
    convert = add(
        "convert",
        "a checkpoint of old files in today's form: safetensors, names, config",
        _later("convert", "converting"),
    )
    _takes(convert, "MODEL OUTPUT")
    convert.add_argument("model", metavar="MODEL", help="a directory with pytorch_model.bin or safetensors, or a name")
    convert.add_argument("output", metavar="OUTPUT", help="a new directory")
    convert.add_argument("--family", metavar="NAME", help="such as bert, where config.json has no model_type")
    convert.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), help="of the weights (as they are)")
    convert.add_argument("--max-shard-size", metavar="SIZE", default="50GB", help="files of at most this size (50GB)")
    convert.add_argument("--json", action="store_true", help="print JSON")


def _takes(command: argparse.ArgumentParser, arguments: str) -> None:
    command.usage = f"{command.usage or ''} {arguments}"


def _add_inputs(command: argparse.ArgumentParser) -> None:
    _takes(command, "[TEXT …]")
    command.add_argument("text", nargs="*", metavar="TEXT", help="one or several texts")
    command.add_argument(
        "--file",
        action="append",
        metavar="FILE",
        help="a file with a text in each line; without TEXT and FILE, the lines of the standard input",
    )
    _add_model(command)


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", metavar="NAME", help="a directory, or a name on a hub (a common one for the task)")
    command.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, … (an accelerator if there is one)")
    command.add_argument("--batch-size", type=int, metavar="N", help="how many texts are read at once (8)")
    command.add_argument("--json", action="store_true", help="print one line of JSON for each text")


def _add_top_k(command: argparse.ArgumentParser, about: str) -> None:
    command.add_argument("--top-k", metavar="N", help=about)


def _add_pooling(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--pooling", choices=("mean", "cls", "max"), default="mean", help="how tokens become one vector (mean)"
    )


def _later(name: str, module: str = "pipelines.commands") -> Run:
    def run(options: argparse.Namespace) -> int:
        status: int = getattr(import_module(f"minitransformers.{module}"), name)(options)
        return status

    return run
