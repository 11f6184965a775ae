"""HfArgumentParser compared with transformers': equal values of valid command lines, and equal refusals."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import subprocess
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Optional, Union

import pytest
import transformers
from hypothesis import given, strategies as st

import minitransformers
from minitransformers import (
    HfArg,
    HfArgumentParser,
    InputError,
    MissingFileError,
    Seq2SeqTrainingArguments,
    TrainingArguments,
    UnknownArgumentError,
)
from minitransformers.compat.training_arguments import NotCovered


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Level(int, Enum):
    LOW = 1
    HIGH = 10


@dataclass
class ModelArguments:
    """Attributes of a model.

    Attributes:
        size, depth: how large, how
            deep; 100 % of it.
        unknown: not a field.
    """

    name: str
    size: int = 4
    depth: Optional[int] = None  # noqa: UP045  # as older scripts write it
    rate: float = 0.5
    is_fast: bool = False
    is_tied: bool = True
    is_odd: bool | None = None
    is_even: Optional[bool] = field(default=True, metadata={"help": "even"})  # noqa: UP045
    colour: Colour = Colour.RED
    colour_or_text: Colour | str = "green"
    level: Level = Level.LOW


@dataclass
class DataArguments:
    is_needed: bool
    layer_sizes: list[int]
    mode: Literal["slow", "fast", 3]
    file: str | None = field(default=None, metadata={"help": "where", "aliases": ["--path", "-p"]})
    names: list[str] = field(default_factory=lambda: ["a", "b"])
    ratios: Optional[list[float]] = None  # noqa: UP045
    split: Optional[Literal["train", "test"]] = "train"  # noqa: UP045
    count: Union[str, int, None] = None  # noqa: UP007
    text: Union[int, str, None] = None  # noqa: UP007
    max_length: int = HfArg(default=8, aliases="-m", help="cut")
    choice: str = field(default="x", metadata={"choices": ["x", "y"], "metavar": "XY"})
    maybe: Optional[bool] = field(init=False, default=None)  # noqa: UP045


@dataclass
class InGroup:
    _argument_group_name = "a group"
    in_group: int = HfArg(default_factory=lambda: 3)


KINDS = (ModelArguments, DataArguments, InGroup)
TEXTS = (
    "x",
    "1",
    "3",
    "10",
    "-2",
    "0.25",
    "1e-3",
    "red",
    "green",
    "fast",
    "train",
    "True",
    "no",
    "T",
    "low",
    "",
    "é b",
)


def given_rarely(texts: Any) -> Any:
    """Usually nothing."""
    return st.one_of(*([st.just([])] * 3), texts)


def option(name: str, values: Any, number: Any = None) -> Any:
    """The option in one of its spellings, with no value, one or several."""
    number = st.integers(0, 2) if number is None else number
    spelling = st.sampled_from([f"--{name}", f"--{name.replace('_', '-')}"])
    several = number.flatmap(lambda size: st.lists(values, min_size=size, max_size=size))
    return st.builds(lambda spelled, texts: [spelled, *texts], spelling, several)


ANY = st.sampled_from(TEXTS)
RIGHT: dict[str, Any] = {
    **dict.fromkeys(("name", "file", "text"), ANY),
    **dict.fromkeys(
        ("size", "depth", "layer_sizes", "max_length", "in_group", "count"), st.sampled_from(["0", "12", "-3"])
    ),
    **dict.fromkeys(("rate", "ratios"), st.sampled_from(["0", "0.5", "1e-4", "-2.5"])),
    **dict.fromkeys(
        ("is_fast", "is_tied", "is_odd", "is_even", "is_needed"),
        st.sampled_from(["true", "F", "YES", "n", "0", "1", "False"]),
    ),
    **dict.fromkeys(("colour", "colour_or_text"), st.sampled_from(["red", "green"])),
    "level": st.sampled_from(["1", "10"]),
    "mode": st.sampled_from(["slow", "3"]),
    "names": st.sampled_from(["a", "b c", "7"]),
    "split": st.sampled_from(["test", "train"]),
    "choice": st.sampled_from(["x", "y"]),
}
ONE = st.just(1)


@st.composite
def command_lines(draw: Any) -> list[str]:
    """Mostly valid ones: with the required options, some others, and sometimes an invalid one."""
    words = []
    for name in draw(st.permutations(list(RIGHT))):
        is_required = name in ("name", "layer_sizes", "mode")
        right = option(name, RIGHT[name], ONE if name not in ("layer_sizes", "names", "ratios") else st.integers(1, 3))
        if name in ("is_fast", "is_needed"):
            right = st.one_of(right, st.just([f"--{name}"]))
        if name in ("is_tied", "is_even"):
            right = st.sampled_from([[f"--{name}"], [f"--no_{name}"], [f"--no-{name.replace('_', '-')}"]])
        words += draw(right if is_required else given_rarely(right))
    wrong = option(draw(st.sampled_from(list(RIGHT))), ANY)
    others = st.sampled_from([["--nowhere", "3"], ["--siz", "5"], ["-m", "3"], ["--no_is_fast"], ["word"]])
    words += draw(st.one_of(*[st.just([])] * 5, wrong, others))
    return words + draw(given_rarely(st.sampled_from([["-p", "here"], ["--path", "x y"], ["--max-len=4"]])))


def outcome(library: Any, *arguments: Any, **options: Any) -> Any:
    """The result of a command line: dataclasses, or the kind of refusal."""
    parser = library.HfArgumentParser(KINDS)
    parser.add_argument("--by_hand", type=int, default=0)
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            return parser.parse_args_into_dataclasses(*arguments, **options)
        except SystemExit as error:
            return error.code
        except ValueError:
            return "ValueError"


@given(words=command_lines(), rest=st.booleans())
def test_random_command_lines(words: list[str], rest: bool) -> None:
    options = {"return_remaining_strings": rest, "look_for_args_file": False}
    own, theirs = (outcome(library, words, **options) for library in (minitransformers, transformers))
    assert own == theirs
    if isinstance(own, tuple):
        assert types_of(own) == types_of(theirs)


def types_of(outputs: tuple[Any, ...]) -> list[Any]:
    """Types are compared too, because 1, 1.0, True and an enum's member are equal."""
    found = [vars(each) if not isinstance(each, list) else each for each in outputs]
    return [{name: type(value) for name, value in each.items()} for each in found if isinstance(each, dict)]


def test_most_random_command_lines_are_valid() -> None:
    """Otherwise the test above would compare only refusals."""
    kinds: list[Any] = []

    @given(words=command_lines())
    def look(words: list[str]) -> None:
        kinds.append(type(outcome(minitransformers, words, look_for_args_file=False)))

    look()
    assert kinds.count(tuple) > len(kinds) // 3
    assert len(set(kinds)) > 1


REQUIRED = ["--name", "n", "--layer_sizes", "1", "--mode", "3"]


def test_files_of_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later sources take precedence: the file of the script or `args_filename`, files of a flag, the command line."""
    (tmp_path / "script.args").write_text("--size 1 --depth 1 --rate 1\n--by_hand 1")
    (tmp_path / "named.txt").write_text("--size 2\t--depth 2 --rate 2")
    (tmp_path / "flag.txt").write_text("--size 3\n\n--depth 3")
    (tmp_path / "again.txt").write_text("--size 4")
    flags = ["--config", str(tmp_path / "flag.txt"), "--config", str(tmp_path / "again.txt"), "--rate", "5"]
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "script.py"), *REQUIRED, "--rate", "6"])
    seen = set()
    for words in (None, REQUIRED, [*REQUIRED, *flags]):
        for filename in (None, str(tmp_path / "named.txt")):
            for look in (True, False):
                for flag in (None, "--config"):
                    options = {"look_for_args_file": look, "args_filename": filename, "args_file_flag": flag}
                    own, theirs = (outcome(library, words, **options) for library in (minitransformers, transformers))
                    assert own == theirs
                    seen.add((own[0].size, own[0].depth, own[0].rate) if isinstance(own, tuple) else own)
    assert len(seen) >= 7
    for options in ({"args_filename": tmp_path / "absent"}, {"args_file_flag": "--config"}):
        with pytest.raises(MissingFileError, match="absent' cannot be read: No such file"):
            HfArgumentParser(KINDS).parse_args_into_dataclasses(
                [*REQUIRED, "--config", str(tmp_path / "absent")], **options
            )


@pytest.mark.parametrize("kind", ["dict", "json", "yaml"])
def test_dictionaries_and_files(kind: str, tmp_path: Path) -> None:
    values = {"name": "x", "layer_sizes": [1], "mode": "odd", "is_needed": "as it is", "size": None, "in_group": 7}
    if kind == "dict":
        given: Any = values
    else:  # JSON is YAML too
        given = tmp_path / f"arguments.{kind}"
        given.write_text(json.dumps(values))
    for extra in (False, True):
        own, theirs = (
            getattr(library.HfArgumentParser(KINDS), "parse_dict" if kind == "dict" else f"parse_{kind}_file")(
                given, allow_extra_keys=extra
            )
            for library in (minitransformers, transformers)
        )
        assert own == theirs
    assert own[1].is_needed == "as it is"
    parser = HfArgumentParser(KINDS)
    assert parser.parse_dict({**values, "sise": 3}, allow_extra_keys=True) == own
    with pytest.raises(InputError, match=r"There are no fields \['sise'\]\. Did you mean 'size'\?"):
        parser.parse_dict({**values, "sise": 3})


def test_unreadable_files(tmp_path: Path) -> None:
    parser = HfArgumentParser(InGroup)
    with pytest.raises(MissingFileError, match=r"absent\.json' cannot be read"):
        parser.parse_json_file(tmp_path / "absent.json")
    for text, read in (("{", parser.parse_json_file), ("a: [", parser.parse_yaml_file)):
        (tmp_path / "file").write_text(text)
        with pytest.raises(InputError, match=r"file' cannot be read: "):
            read(tmp_path / "file")
    (tmp_path / "file").write_text("[1]")
    with pytest.raises(InputError, match=r"file' holds a list, not a mapping"):
        parser.parse_json_file(tmp_path / "file")


# ---- types that transformers' parser does not take -------------------------------------------------------------------


@dataclass
class More:
    number: int | float = 1
    maybe: int | float | None = None
    options: dict[str, Any] = field(default_factory=dict)
    further: dict | None = None
    report: str | list[str] | None = "none"
    token: bool | str | None = None
    switch: Any = False
    whole: Any = 3
    anything: Any = None
    plain: list = field(default_factory=list)
    sizes: list[Literal["s", 1]] = field(default_factory=list)
    place: Path = Path("here")


def test_more_types() -> None:
    line = (
        '--number 2 --maybe 0.5 --options {"a":[1]} --further {} --report x --token t --switch --whole 4 --anything y '
        "--plain 1 2 --sizes 1 s --place there"
    )
    (made,) = HfArgumentParser(More).parse_args_into_dataclasses(line.split())
    assert made == More(2.0, 0.5, {"a": [1]}, {}, "x", "t", True, 4, "y", ["1", "2"], [1, "s"], Path("there"))
    assert HfArgumentParser(More).parse_args_into_dataclasses([]) == (More(),)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--options [1]", "must be a JSON object"),
        ("--options {a}", "is not JSON"),
        ("--switch maybe", "'maybe' must be one of yes, true"),
        ("--whole x", "invalid int value: 'x'"),
    ],
)
def test_refused_by_argparse(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        HfArgumentParser(More).parse_args_into_dataclasses(line.split())
    assert message in capsys.readouterr().err


def test_errors_name_the_remedy() -> None:
    with pytest.raises(InputError, match=r"the unknown \['--nmber', '2'\]. Did you mean '--number'\?"):
        HfArgumentParser(More).parse_args_into_dataclasses(["--nmber", "2"])
    two = dataclasses.make_dataclass("Two", [("both", int | bytes, 1)])
    with pytest.raises(InputError, match=r"^both is of type int \| bytes: the command line cannot distinguish"):
        HfArgumentParser(two)
    three = dataclasses.make_dataclass("Three", [("lists", Literal["a"] | list[int] | str, 1)])
    assert HfArgumentParser(three).parse_args_into_dataclasses(["--lists", "a"])[0].lists == "a"
    four = dataclasses.make_dataclass("Four", [("bytes", list[int | bytes], field(default_factory=list))])
    with pytest.raises(InputError, match=r"^bytes is of type .*, which cannot be read from a command line"):
        HfArgumentParser(four)
    for wrong in (More(), "More", int):
        with pytest.raises(InputError, match=r"^dataclass_types must be dataclasses"):
            HfArgumentParser(wrong)

    @dataclass
    class Local:
        value: Undefined  # type: ignore[name-defined]

    with pytest.raises(InputError, match=r"types of Local's fields cannot be resolved \(name 'Undefined'"):
        HfArgumentParser(Local)


def test_help() -> None:
    """Descriptions come from the metadata or from the docstring, with defaults."""
    text = " ".join(HfArgumentParser(KINDS).format_help().split())
    assert "how large, how deep; 100 % of it. (default: 4)" in text
    assert "even (default: True)" in text
    assert "a group: --in_group IN_GROUP, --in-group IN_GROUP" in text
    assert "--file FILE, --path FILE, -p FILE where (default: None)" in text
    training = " ".join(HfArgumentParser(TrainingArguments).format_help().split())
    assert "a number of steps, or, below 1, a fraction of all steps. (default: 0)" in training


# ---- TrainingArguments ----------------------------------------------------------------------------------------------

THEIRS = {each.name: each for each in dataclasses.fields(transformers.Seq2SeqTrainingArguments)}
COVERED = sorted(
    {each.name for each in dataclasses.fields(Seq2SeqTrainingArguments)}
    & THEIRS.keys() - {each.name for each in dataclasses.fields(NotCovered)}
)
PARSERS = [library.HfArgumentParser(library.Seq2SeqTrainingArguments) for library in (minitransformers, transformers)]
OWN_ACTIONS = {action.dest: action for action in PARSERS[0]._actions if action.nargs != 0}


def texts_for(name: str) -> Any:
    """Valid values of the field, and sometimes an invalid one."""
    action = OWN_ACTIONS[name]
    if action.choices is not None:
        texts = st.sampled_from([str(choice) for choice in action.choices])
    elif action.type is int:
        texts = st.integers(1, 99).map(str)
    elif action.type is float:
        texts = st.floats(0, 1).map(repr)
    elif action.nargs == "?" or isinstance(action.default, bool) or action.type.__name__ == "_bool":
        texts = st.sampled_from(["true", "False", "no", "1"])
    elif action.type.__name__ == "_json_object":
        return st.sampled_from(['{"a": 1}', '{"use_reentrant": false}', "{}"])
    else:
        texts = st.sampled_from(["warning", "length", "none", "here"])
    return st.one_of(*[texts] * 9, st.sampled_from(["?", "-1"]))


def test_enough_is_covered() -> None:
    assert len(COVERED) > 65
    assert {
        "learning_rate",
        "report_to",
        "lr_scheduler_kwargs",
        "log_level",
        "label_names",
        "generation_max_length",
    } <= set(COVERED)


@given(data=st.data())
def test_training_arguments_are_parsed_as_in_transformers(data: st.DataObject) -> None:
    """Each covered field before the checks of the classes, which differ for some combinations."""
    names = data.draw(st.lists(st.sampled_from(COVERED), unique=True, max_size=12))
    words = [word for name in names for word in data.draw(option(name, texts_for(name), ONE))]
    read = []
    for parser in PARSERS:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            try:
                read.append(vars(parser.parse_args(words)))
            except SystemExit:
                read.append(said.getvalue().splitlines()[-1].split(": error: ")[1].split(":")[0])
    own, theirs = read
    if isinstance(own, str) or isinstance(theirs, str):
        assert own == theirs  # the refused option
        return
    for name in COVERED:
        expected = theirs[name]
        if isinstance(own[name], dict):  # in transformers, the class parses the text
            expected = json.loads(expected)
        if name in names:
            assert (own[name], type(own[name])) == (expected, type(expected)), name
        else:
            # Where that is a text, it is read as the option would be.
            default = Seq2SeqTrainingArguments.__dataclass_fields__[name].default
            assert own[name] in (default, [], theirs[name] if isinstance(default, str) else default), name


LINES = [
    "--output_dir out --do_train --do_eval --max_seq_length 128 --per_device_train_batch_size 32 --learning_rate 2e-5 "
    "--num_train_epochs 3 --eval_strategy epoch --no_dataloader_pin_memory",
    "--output-dir out --warmup_steps 0.1 --lr_scheduler_type cosine --fp16 false --bf16 --save-steps 9 --eval_steps 5",
    '--gradient_checkpointing true --gradient_checkpointing_kwargs {"use_reentrant":false} --report_to none --seed 7',
    '--lr_scheduler_type cosine_with_min_lr --lr_scheduler_kwargs {"min_lr":1e-6} --label_names a b --log_level info',
]


@dataclass
class Script:
    task: str | None = None
    max_seq_length: int = 64


@pytest.mark.parametrize("line", LINES)
def test_command_lines_of_scripts(line: str) -> None:
    made = []
    for library in (minitransformers, transformers):
        parser = library.HfArgumentParser((Script, library.Seq2SeqTrainingArguments))
        made.append(parser.parse_args_into_dataclasses([*line.split(), "--use_cpu", "--disable_tqdm", "no"]))
    (own_script, own), (script, theirs) = made
    assert own_script == script
    assert type(own) is Seq2SeqTrainingArguments
    given = {word.lstrip("-").replace("-", "_") for word in line.split() if word.startswith("--")}
    assert len(given & set(COVERED)) >= 4
    # The default differs: a resumed run should end like an uninterrupted one.
    for name in set(COVERED) - {"restore_callback_states_from_checkpoint"}:
        value = getattr(theirs, name)
        if name == "accelerator_config":  # transformers removes a field once it is read
            value = {**value.to_dict(), "use_configured_state": False}
        assert own.to_dict()[name] == (value.value if isinstance(value, Enum) else value), name


def test_the_class_refuses_arguments_that_are_not_covered() -> None:
    parser = HfArgumentParser(TrainingArguments)
    with pytest.raises(UnknownArgumentError, match=r"does not cover use_liger_kernel=True"):
        parser.parse_args_into_dataclasses(["--use_liger_kernel"])
    (made,) = parser.parse_args_into_dataclasses(["--use_liger_kernel", "no", "--ddp_timeout", "1800", "--debug", ""])
    assert made == TrainingArguments()


def test_in_a_script(tmp_path: Path) -> None:
    """With the command line of a process that does not import transformers."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from dataclasses import dataclass\n"
        "from minitransformers import HfArgumentParser, TrainingArguments\n"
        "@dataclass\n"
        "class Own:\n"
        "    texts: str = 'none'\n"
        "own, training = HfArgumentParser((Own, TrainingArguments)).parse_args_into_dataclasses()\n"
        "print(own.texts, training.seed, training.learning_rate)\n"
        "print([name for name in ('transformers', 'yaml', 'huggingface_hub') if name in sys.modules])\n"
    )
    (tmp_path / "script.args").write_text("--seed 5 --learning_rate 1e-4")
    arguments = [sys.executable, str(script), "--texts", "some", "--seed", "6", "--use_cpu"]
    child = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert child.stdout == "some 6 0.0001\n[]\n", child.stderr
