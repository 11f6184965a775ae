"""The terminal: what is typed, and what comes back."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_session import byte_tokenizer, tiny_model

import minitransformers
from minitransformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BertLMHeadModel,
    CheckpointError,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    MinitransformersError,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
    cli,
)
from minitransformers.app import session as sessions, terminal as terminals
from minitransformers.app.session import Session
from minitransformers.app.settings import FIELDS, STRATEGIES, Settings, as_command, as_flag, as_label
from minitransformers.app.terminal import Chatting, Terminal, Writing, lines_of
from minitransformers.app.tokens import Change, displayed

ROOT = str(Path(cli.__file__).parents[1])
GREEDY = Settings("greedy", spell=as_command).set("length", 8)


def run(kind: type[Terminal], session: Session, *lines: str, settings: Settings = GREEDY, **fields: Any) -> Terminal:
    """Type these lines, and then Ctrl-D."""
    typed = lines_of(io.StringIO("".join(f"{line}\n" for line in lines)))
    terminal = kind(session, settings, typed, io.StringIO(), io.StringIO(), **fields)
    terminal.run()
    return terminal


def printed(terminal: Terminal) -> str:
    assert isinstance(terminal.out, io.StringIO)
    return terminal.out.getvalue()


def noted(terminal: Terminal) -> str:
    assert isinstance(terminal.notes, io.StringIO)
    return terminal.notes.getvalue()


def text_of(session: Session, prompt: str, **named: Any) -> str:
    """The prompt and its continuation by `generate`."""
    ids = session.encode(prompt)
    return session.tokenizer.decode(session.model.generate(torch.tensor([ids]), **named)[0], skip_special_tokens=True)


# ---- texts -----------------------------------------------------------------------------------------------------------


def test_a_line_is_continued(session: Session) -> None:
    terminal = run(Writing, session, "To be", "", "   ", "Or not")
    expected = [text_of(session, prompt, max_new_tokens=8) for prompt in ("To be", "Or not")]
    assert printed(terminal) == "".join(f"{text}\n" for text in expected)
    assert noted(terminal).count("8 tokens, ") == 2


def test_a_line_can_go_on_in_the_next(session: Session) -> None:
    assert printed(run(Writing, session, "To be\\", "or not")).startswith("To be\nor not")


def test_settings_hold_from_then_on(session: Session) -> None:
    lines = (
        "To be",
        "/length 3",
        "To be",
        "/strategy beam 3",
        "To be",
        "/strategy sample",
        "/seed 5",
        "/top-k 7",
        "To be",
    )
    terminal = run(Writing, session, *lines)
    sampled = {"do_sample": True, "top_k": 7, "top_p": 0.95, "temperature": 0.8, "generator": 5}
    expected = [
        text_of(session, "To be", max_new_tokens=8),
        text_of(session, "To be", max_new_tokens=3),
        text_of(session, "To be", max_new_tokens=3, num_beams=3),
        text_of(session, "To be", max_new_tokens=3, **sampled),
    ]
    assert printed(terminal) == "".join(f"{text}\n" for text in expected)
    for note in (
        "length = 3",
        "strategy = beam: several texts",
        "seed = 5",
        "top_k = 7",
        "3 tokens, ",
        "seed 5",
    ):
        assert note in noted(terminal)


def test_a_drawn_seed_is_told_and_draws_the_same_again(session: Session) -> None:
    settings = Settings("sample").set("length", 8)
    first = run(Writing, session, "To be", settings=settings)
    seed = noted(first).split("seed ")[1].split("]")[0]
    assert printed(run(Writing, session, f"/seed {seed}", "To be", settings=settings)) == printed(first)


def test_more_goes_on(session: Session) -> None:
    terminal = run(Writing, session, "/length 5", "To be", "/more", "/more")
    ids = session.encode("To be")
    (expected,) = session.model.generate(torch.tensor([ids]), max_new_tokens=15).tolist()
    assert [token.id for token in terminal.tokens] == expected[-5:]
    assert printed(terminal).startswith(text_of(session, "To be", max_new_tokens=5) + "\n")


def test_more_without_room_is_refused_and_changes_nothing(session: Session) -> None:
    terminal = run(Writing, session, "/length 10", "x" * 240, "/more", "/length 3", "/more")
    assert terminal.errors == 1
    ids = session.encode("x" * 240)
    (expected,) = session.model.generate(torch.tensor([ids]), max_new_tokens=13).tolist()
    assert [token.id for token in terminal.tokens] == expected[-3:]


def test_a_template_is_a_prompt(session: Session) -> None:
    terminal = run(Writing, session, "/length 2", "/template few-shot", "/template x")
    assert "Word: Winter\nOpposite:" in printed(terminal)
    assert "There is no template 'x'; there are zero-shot, few-shot" in noted(terminal)


def test_show_help_and_alternatives(session: Session) -> None:
    terminal = run(Writing, session, "/alternatives", "/show", "/help", "To be", "/alternatives")
    notes = noted(terminal)
    assert "There is no text yet." in notes
    for name in terminal.commands:
        assert f"  /{name} " in notes
    assert "temperature   0.8   (not used by greedy)" in notes
    assert "seed          another each time" in notes
    assert f"\n  {'length':<14}8\n" in notes
    for token in terminal.tokens:
        assert f"  {token.probability:6.3f}  {token.label!r}" in notes


def test_quit_ends(session: Session) -> None:
    assert printed(run(Writing, session, "/quit", "To be")) == ""
    assert printed(run(Writing, session, "/exit", "To be")) == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "/temperature 0",
            "/temperature must be a number from 0.01 to 100, got 0. For the likeliest token at each step",
        ),
        ("/temperature 0", "use /strategy greedy."),
        ("/temperature -1", "/temperature must be"),
        ("/temperature warm", "/temperature must be a number from 0.01 to 100, got warm."),
        ("/top_p 1.5", "/top_p must be a number above 0 and at most 1, got 1.5."),
        ("/top_k -1", "/top_k must be"),
        ("/top_k 1.5", "/top_k must be a whole number of at least 0, and less than 2**31, got 1.5."),
        ("/length 0", "/length must be"),
        ("/length 1000", "/length must be less than 256, the number of tokens that the model can read, got 1000."),
        ("/penalty 0", "/penalty must be"),
        ("/seed -1", "/seed must be a whole number from 0 to 2**63 − 1, got -1."),
        ("/strategy beam 0", "/beams must be a whole number from 1 to 256, got 0."),
        ("/strategy beam many", "/beams must be a whole number from 1 to 256, got many."),
        ("/strategy best", "There is no strategy 'best'; there are greedy, sample, beam"),
        ("/strategy", "There is no strategy ''"),
        ("/strategy greedy 4", "Only the strategy beam takes a number"),
        ("/strategy assisted", "restart the program with --draft"),
        ("/temperatur 1", "There is no command /temperatur. Did you mean 'temperature'?"),
        ("/", "There is no command /."),
        ("/more", "There is no text yet"),
        ("x" * 300, "The prompt has 300 tokens, and the model can read 256: shorten the prompt."),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(session: Session, line: str, message: str) -> None:
    terminal = run(Writing, session, line, "To be")
    (error, *_) = noted(terminal).splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert terminal.errors == 1
    assert terminal.settings == GREEDY
    assert printed(terminal) == text_of(session, "To be", max_new_tokens=8) + "\n"


def test_a_draft_model_makes_assisted_possible(session: Session) -> None:
    session.draft = tiny_model(1)
    assert printed(run(Writing, session, "/strategy assisted", "To be")) == printed(run(Writing, session, "To be"))


def interrupted(after: int) -> Any:
    def cut(*arguments: Any, **named: Any) -> Iterator[Change]:
        for number, change in enumerate(displayed(*arguments, **named)):
            if number == after:
                raise KeyboardInterrupt
            yield change

    return cut


@pytest.mark.parametrize("strategy", ["greedy", "beam"])
def test_ctrl_c_stops_the_text_and_not_the_program(
    session: Session, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminals, "displayed", interrupted(after=3))
    terminal = run(Writing, session, f"/strategy {strategy}", "/length 100", "To be", "Or not")
    assert len(terminal.tokens) == 3
    assert noted(terminal).count("[stopped, 3 tokens, ") == 2
    assert printed(terminal).endswith("Or not" + "".join(token.text for token in terminal.tokens) + "\n")


def test_ctrl_c_while_typing_does_not_end_the_program(session: Session) -> None:
    lines = iter([KeyboardInterrupt, "To be", EOFError])

    def read(_: str) -> str:
        line = next(lines)
        if isinstance(line, str):
            return line
        raise line

    terminal = Writing(session, GREEDY, read, io.StringIO(), io.StringIO())
    terminal.run()
    assert printed(terminal).startswith("To be")
    assert "Ctrl-D leaves" in noted(terminal)


# ---- chats -----------------------------------------------------------------------------------------------------------


def test_an_answer_sees_the_chat_before_it(session: Session) -> None:
    terminal = run(Chatting, session, "Hi", "Who?", system="Be brief.")
    assert isinstance(terminal, Chatting)
    assert [turn["role"] for turn in terminal.turns] == ["user", "assistant", "user", "assistant"]
    answer = terminal.turns[1]["content"]
    seen = f"Be brief.\n\nUser: Hi\nAssistant: {answer}\nUser: Who?\nAssistant:"
    assert terminal.turns[3]["content"] == text_of(session, seen, max_new_tokens=8).removeprefix(seen).strip()


def test_the_oldest_turns_are_forgotten_and_the_system_message_is_not(session: Session) -> None:
    terminal = run(Chatting, session, "/system Be brief.", *["word " * 15] * 5)
    assert isinstance(terminal, Chatting)
    assert "its 2 oldest messages are left out" in noted(terminal)
    assert terminal.system == "Be brief."
    assert terminal.turns[0]["role"] == "user"
    assert 2 <= len(terminal.turns) < 10
    assert terminal.errors == 0


def test_a_message_that_is_too_long_is_not_kept(session: Session) -> None:
    terminal = run(Chatting, session, "Hi", "x" * 300, "Who?")
    assert isinstance(terminal, Chatting)
    assert "The last message has 317 tokens with the text around it, and there is room for 248" in noted(terminal)
    assert [turn["content"] for turn in terminal.turns[::2]] == ["Hi", "Who?"]


def test_reset_forgets(session: Session) -> None:
    terminal = run(Chatting, session, "Hi", "/reset", "/system")
    assert isinstance(terminal, Chatting)
    assert terminal.turns == []
    assert "The chat is forgotten." in noted(terminal)


def test_an_answer_ends_where_the_user_would_speak(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = session.tokenizer("Yes.\nUser: And")["input_ids"]
    start = len(session.tokenizer("User: Hi\nAssistant:")["input_ids"])

    def forward(input_ids: Any, *arguments: Any, **named: Any) -> Any:
        output = original(input_ids, *arguments, **named)
        place = output.past_key_values.get_seq_length() - start
        output.logits[:, -1] = 1000.0 * torch.nn.functional.one_hot(torch.tensor(wanted[place]), 257)
        return output

    original = session.model.forward
    monkeypatch.setattr(session.model, "forward", forward)
    terminal = run(Chatting, session, "Hi", settings=Settings("greedy").set("length", 14))
    assert isinstance(terminal, Chatting)
    assert printed(terminal) == "Yes.\n"
    assert terminal.turns[1]["content"] == "Yes."


# ---- the command line ------------------------------------------------------------------------------------------------


def test_prompt_and_pipe(directory: Path, session: Session, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = text_of(session, "To be", max_new_tokens=6) + "\n"
    options = ["--model", str(directory), "--strategy", "greedy", "--length", "6"]
    assert cli.main(["generate", "--prompt", "To be", *options]) == 0
    assert capsys.readouterr().out == expected
    monkeypatch.setattr(sys, "stdin", io.StringIO("To be\n"))
    assert cli.main(["generate", *options]) == 0
    assert capsys.readouterr().out == expected


def test_chat_by_prompt_and_pipe(directory: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--model", str(directory), "--strategy", "greedy", "--max-new-tokens", "6", "--system", "Be brief."]
    assert cli.main(["chat", "--prompt", "Hi", *options]) == 0
    answer = capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hi\n/reset\nHi\n"))
    assert cli.main(["chat", *options]) == 0
    assert capsys.readouterr().out == 2 * answer
    monkeypatch.setattr(sys, "stdin", io.StringIO("/rest\nHi\n"))
    assert cli.main(["chat", *options]) == 1
    captured = capsys.readouterr()
    assert captured.out == answer
    assert "There is no command /rest. Did you mean 'reset'?" in captured.err
    monkeypatch.setattr(sys, "stdin", io.StringIO("/temperature 0\n"))
    assert cli.main(["chat", *options]) == 1
    assert "error: /temperature must be" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--temperature", "0"], "--temperature must be a number from 0.01 to 100, got 0."),
        (["--temperature", "0"], "use --strategy greedy."),
        (["--prompt", "To be, or not", "--length", "250"], "the prompt has 13. Use --length 244 or a shorter prompt."),
        (["--max-new-tokens", "1000"], "--length must be less than 256"),
        (["--top-p", "2"], "--top-p must be"),
        (["--strategy", "assisted"], "restart the program with --draft"),
        (["--strategy", "best"], "There is no strategy 'best'"),
        (["--draft", "nowhere/at-all"], "nowhere/at-all"),
        (["--random"], "--model and --random contradict each other"),
    ],
)
def test_errors_are_sentences(directory: Path, options: list[str], message: str, capsys: Any) -> None:
    assert cli.main(["generate", "--model", str(directory), "--prompt", "Hi", *options]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err


def test_as_a_program(directory: Path) -> None:
    """In a process of its own: output to stdout, notes to stderr, no traceback."""
    command = [
        sys.executable,
        "-m",
        "minitransformers",
        "generate",
        "--model",
        str(directory),
        "--seed",
        "1",
        "--prompt",
    ]
    environment = os.environ | {"PYTHONPATH": ROOT, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([*command, "To be"], env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("To be")
    assert "ms each, sample, seed 1]" in done.stderr
    done = subprocess.run([*command, "x" * 300], env=environment, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: The prompt has 300 tokens")


# ---- which model -----------------------------------------------------------------------------------------------------


def test_without_a_model_it_is_said_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sessions, "OWN_MODEL", Path("none"))
    monkeypatch.setattr(sessions, "_installed_model", lambda _: None)
    monkeypatch.setattr(sessions, "fetch_if_reachable", lambda name: None)
    assert cli.main(["generate", "--prompt", "Hi"]) == 1
    error = capsys.readouterr().err
    for word in ("No trained model is installed", "--model", "--random"):
        assert word in error
    assert "examples/" not in error  # which a wheel does not have


def test_the_own_model_comes_first(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gpt").symlink_to(directory, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sessions, "OWN_MODEL", Path("gpt"))
    session = sessions.load()
    assert session.name == "the GPT trained with this library"
    assert not session.is_random
    assert session.positions == 256


def test_gpt2_comes_next(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sessions, "OWN_MODEL", Path("none"))
    monkeypatch.setattr(sessions, "_installed_model", lambda _: None)
    monkeypatch.setattr(sessions, "fetch_if_reachable", lambda name: {"gpt2": directory}[name])
    assert sessions.load().name == "GPT-2"


def test_a_random_model_is_called_random(capsys: Any) -> None:
    assert cli.main(["generate", "--random", "--prompt", "Hi", "--length", "2"]) == 0
    assert "RANDOM weights" in capsys.readouterr().err
    session = sessions.load(random_weights=True)
    assert session.is_random
    assert "RANDOM" in session.name


def test_a_model_without_a_head_is_refused(tmp_path: Path) -> None:
    LlamaModel(LlamaConfig(**TINY, num_key_value_heads=2)).save_pretrained(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"cannot continue texts: it has no lm_head.weight, which would be random"
    ):
        sessions.load(str(tmp_path))


TINY = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
T5 = {"vocab_size": 20, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
BART = {"vocab_size": 20, "d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
BART |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
NOT_CAUSAL = {
    "bert": (lambda: BertForMaskedLM(BertConfig(**TINY)), "an encoder (bert)"),
    "roberta": (lambda: RobertaForMaskedLM(RobertaConfig(**TINY)), "an encoder (roberta)"),
    "albert": (lambda: AlbertForMaskedLM(AlbertConfig(**TINY, embedding_size=8)), "an encoder (albert)"),
    "t5": (lambda: T5ForConditionalGeneration(T5Config(**T5)), "an encoder–decoder (t5)"),
    "bart": (lambda: BartForConditionalGeneration(BartConfig(**BART)), "an encoder–decoder (bart)"),
}


@pytest.mark.parametrize("family", NOT_CAUSAL)
def test_a_model_that_cannot_continue_texts_is_refused(family: str, tmp_path: Path, capsys: Any) -> None:
    """In one sentence, before weights are loaded and anything is printed."""
    build, kind = NOT_CAUSAL[family]
    build().save_pretrained(tmp_path)
    for command in ("generate", "chat"):
        assert cli.main([command, "--model", str(tmp_path), "--prompt", "To be"]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        (line,) = captured.err.splitlines()
        assert line.startswith("error: ")
        assert f"cannot continue texts: it is {kind}" in line
        assert "--model openai-community/gpt2" in line


def test_a_bert_that_was_trained_from_left_to_right_is_taken(tmp_path: Path) -> None:
    BertLMHeadModel(BertConfig(**TINY, is_decoder=True)).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    assert sessions.load(str(tmp_path)).model.config.is_decoder


def test_a_draft_of_another_vocabulary_is_refused(directory: Path, tmp_path: Path, capsys: Any) -> None:
    LlamaForCausalLM(LlamaConfig(**TINY, num_key_value_heads=2)).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    assert cli.main(["generate", "--model", str(directory), "--draft", str(tmp_path), "--prompt", "Hi"]) == 1
    assert "has a vocabulary of 20 tokens, and the model one of 257" in capsys.readouterr().err


# ---- advice in the reader's terms ------------------------------------------------------------------------------------

PYTHON = re.compile(r"\w=|\bpass\b|\w\(|None|True|False|Config|numpy|tensor", re.IGNORECASE)


@pytest.mark.parametrize("spell", [as_flag, as_command, as_label])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_error_of_a_setting_speaks_python(session: Session, strategy: str, spell: Any) -> None:
    session.draft = tiny_model(1)
    start = Settings(strategy, spell=spell).set("length", 4)
    errors = []
    for item in FIELDS:
        for value in (-1, 0, 1e-300, 0.009, 1.5, 257, 10**9, 10**30, 1e300, "x", "nan", "inf", [1], True):
            try:
                settings = start.set(item.name, value)
                session.check(settings)
                session.start(session.encode("To be"), settings)
            except MinitransformersError as error:
                errors.append((item.name, str(error)))
    assert len(errors) > 50
    for name, error in errors:
        assert not PYTHON.search(error.replace("got True", "")), error
        assert spell(name) in error


def test_settings_at_the_ends_of_their_ranges_work(session: Session) -> None:
    ends = {"temperature": (0.01, 100), "top_k": (0, 10**6), "top_p": (1e-9, 1), "min_p": (0, 1)}
    ends |= {"typical_p": (1e-9, 1), "repetition_penalty": (0.01, 100), "no_repeat_ngram_size": (0, 1, 10**6)}
    for name, values in ends.items():
        for value in values:
            settings = Settings("sample").set("length", 3).set(name, value)
            search, _ = session.start(session.encode("To be"), settings)
            assert list(displayed(search, session.tokenizer))


def test_a_setting_without_effect_is_noted(directory: Path, capsys: Any) -> None:
    options = ["generate", "--model", str(directory), "--prompt", "Hi", "--length", "2"]
    assert cli.main([*options, "--beams", "3"]) == 0
    note = "note: --beams has no effect with --strategy sample: add --strategy beam.\n"
    assert capsys.readouterr().err.startswith(note)
    assert cli.main([*options, "--strategy", "greedy", "--top-k", "3", "--penalty", "1.1"]) == 0
    assert capsys.readouterr().err.startswith("note: --top-k has no effect with --strategy greedy.\n[2 tokens")


# ---- help ------------------------------------------------------------------------------------------------------------


def test_help_version_and_no_command(capsys: Any) -> None:
    for arguments in (["--help"], ["generate", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert ended.value.code == 0
    assert f"minitransformers {minitransformers.__version__}\n" in capsys.readouterr().out
    assert cli.main([]) == 2
    assert "generate and chat in a web page" in capsys.readouterr().err


def test_help_does_not_wait_for_pytorch() -> None:
    code = "import sys, minitransformers.cli as cli; cli.main([]); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env={**os.environ, "PYTHONPATH": ROOT})
    assert done.returncode == 0, done.stderr


def test_the_console_script_calls_itself_by_its_name(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for argument, name in {
        "/bin/minitransformers": "minitransformers",
        "x/__main__.py": "python -m minitransformers",
    }.items():
        monkeypatch.setattr(sys, "argv", [argument])
        with pytest.raises(SystemExit):
            cli.main(["chat", "--help"])
        assert capsys.readouterr().out.startswith(f"usage: {name} chat [options]")


def test_a_misspelt_option_names_the_nearest(capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["generate", "--promt", "Hi"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("usage: python -m minitransformers generate") or " generate [options]" in error
    assert "unrecognized arguments: --promt Hi. Did you mean '--prompt'?" in error
