"""Tokenizers against transformers in programs: scripts from books, signatures, conversations."""

from __future__ import annotations

import contextlib
import enum
import inspect
import io
import itertools
import re
import shutil
import textwrap
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import transformers
from tokenizer_comparing import result_of
from tokenizer_directories import CLASSES, both, real_directory
from transformers.utils import logging as transformers_logging

import minitransformers.tokenization as ours

transformers_logging.set_verbosity_error()
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


# ---- scripts from books ----------------------------------------------------------------------------------------------

SCRIPTS = {
    "question answering": """
        tokenizer = AutoTokenizer.from_pretrained(BERT)
        question, context = "Where do I live?", "My name is Sylvain and I live in Brooklyn. " * 30
        inputs = tokenizer(question, context, return_tensors="pt", truncation=True, max_length=384)
        print(inputs["input_ids"].shape, inputs.input_ids[0, -3:], inputs.keys(), len(inputs), "labels" in inputs)
        print(inputs.sequence_ids()[:10], inputs.char_to_token(3, sequence_index=1), inputs.token_to_chars(9))
        print(tokenizer.decode(inputs["input_ids"][0, :12], skip_special_tokens=True))
        print({name: tensor.dtype for name, tensor in inputs.to("cpu").items()})
        windows = tokenizer(question, context, max_length=100, truncation="only_second", stride=50,
                            padding="max_length", return_overflowing_tokens=True, return_offsets_mapping=True)
        print(len(windows["input_ids"]), windows["overflow_to_sample_mapping"], windows["offset_mapping"][1][:12])
        for window in windows["input_ids"]:
            print(tokenizer.decode(window))
    """,
    "first steps": """
        tokenizer = BertTokenizer.from_pretrained(BERT)
        print(tokenizer)
        print(len(tokenizer), tokenizer.vocab_size, tokenizer.model_max_length, tokenizer.is_fast, bool(tokenizer))
        print(tokenizer("Hello, y'all! How are you 😁 ?"))
        print(tokenizer("Hello, y'all! How are you 😁 ?").tokens(), tokenizer("Hello 😁", "you").word_ids())
        tokens = tokenizer.tokenize("Using a Transformer network is simple")
        ids = tokenizer.convert_tokens_to_ids(tokens)
        print(tokens, ids, tokenizer.decode(ids), tokenizer.convert_tokens_to_ids("[MASK]"))
        print(tokenizer.convert_ids_to_tokens(torch.tensor(ids)), tokenizer.convert_ids_to_tokens(2003))
        print(tokenizer.convert_tokens_to_string(tokens))
        batch = tokenizer(["So long", "and thanks for all the fish"], padding=True, return_tensors="pt")
        print(batch)
        print(tokenizer.batch_decode(batch["input_ids"], skip_special_tokens=True), tokenizer.decode(batch.input_ids))
        print(tokenizer(["So long", "and thanks"], padding="max_length", max_length=8, return_tensors="np"))
        print(tokenizer.cls_token, tokenizer.sep_token_id, tokenizer.all_special_ids, tokenizer.special_tokens_map)
        print(tokenizer.bos_token, tokenizer.eos_token_id, tokenizer.pad_token_type_id)
        print(tokenizer.max_len_single_sentence, tokenizer.max_len_sentences_pair)
        print(sorted(tokenizer.vocab.items(), key=lambda item: item[1])[1000:1005], tokenizer.get_vocab()["the"])
        print(tokenizer.get_special_tokens_mask([101, 7592, 102], already_has_special_tokens=True))
        print(tokenizer.clean_up_tokenization("it 's . do n't"), tokenizer.encode("Hi", return_tensors="pt"))
    """,
    "words and labels": """
        tokenizer = AutoTokenizer.from_pretrained(BERT)
        words = ["EU", "rejects", "German", "call", "to", "boycott", "British", "lamb", "."]
        inputs = tokenizer(words, is_split_into_words=True, return_special_tokens_mask=True, return_length=True)
        print(inputs, inputs.word_ids(), [inputs.word_to_tokens(i) for i in range(9)], inputs.word_to_chars(5))
        print(inputs.token_to_word(1), inputs.token_to_word(0, 4), inputs.char_to_word(2), inputs.token_to_sequence(1))
        examples = [{**tokenizer(text), "labels": label} for label, text in enumerate(["a cat", "a dog and a cat"])]
        print(tokenizer.pad(examples), tokenizer.pad(examples, return_tensors="pt", pad_to_multiple_of=8))
        print(tokenizer.pad({"input_ids": [torch.tensor([5, 6]), torch.tensor([7])]}, padding_side="left"))
        print(tokenizer.pad({"input_ids": np.array([[5, 6], [7, 8]])}, padding="max_length", max_length=3))
        print(tokenizer.pad({"input_ids": [5, 6]}, padding="max_length", max_length=4, return_attention_mask=False))
        print(tokenizer.pad({"input_ids": []}), tokenizer.pad([tokenizer("a b"), tokenizer("a")], padding=False))
        print(inputs[0], inputs.encodings[0].ids, inputs.n_sequences, inputs.is_fast)
    """,
    "text generation": """
        tokenizer = GPT2Tokenizer.from_pretrained(GPT2)
        print(tokenizer.pad_token, tokenizer.pad_token_id, tokenizer.eos_token_id)
        tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "left"
        inputs = tokenizer(["Hello, I'm a language model", "Once"], return_tensors="pt", padding=True)
        print(inputs)
        print(tokenizer.decode(inputs.input_ids[1]), tokenizer.decode(50256), tokenizer.decode(torch.tensor(11)))
        print(tokenizer.batch_decode(inputs.input_ids, skip_special_tokens=True), tokenizer.decode([[1], [50256]]))
        print(tokenizer.encode("Hello"), tokenizer.encode(" Hello"), tokenizer.tokenize("Hello  wörld\\n 世"))
        tokenizer.pad_token_id = 0
        print(tokenizer.pad_token, tokenizer.special_tokens_map)
        tokenizer.pad_token = None
        print(tokenizer.pad_token_id, tokenizer.convert_tokens_to_ids(["Hello", "no such token"]))
        print(tokenizer.add_special_tokens({"pad_token": "[PAD]", "extra_special_tokens": ["<a>"]}), len(tokenizer))
        print(tokenizer.pad_token_id, tokenizer.extra_special_tokens, tokenizer.extra_special_tokens_ids)
        print(tokenizer.add_tokens(["new_tok1", "my_new-tok2"]), tokenizer("new_tok1 and my_new-tok2<a>"))
        print(tokenizer.added_tokens_encoder, tokenizer.added_tokens_decoder, tokenizer.get_added_vocab())
        tokenizer.add_bos_token = True
        tokenizer.add_eos_token = True
        print(tokenizer("a", "b"), tokenizer.num_special_tokens_to_add(True), tokenizer.add_bos_token)
        print(tokenizer.add_eos_token)
        print(tokenizer(text_target="b"), tokenizer("a", text_target="b c d", max_length=2, truncation=True))
        print(tokenizer("a b c", text_target="b c d", max_length=4, max_target_length=2, truncation=True))
        print(tokenizer("a", tokenizer_kwargs={"padding": "max_length", "max_length": 4}))
        again = pickle.loads(pickle.dumps(copy.deepcopy(tokenizer)))
        print(again, again("a <a>", return_tensors="pt"), pickle.loads(pickle.dumps(again("a"))).tokens())
    """,
    "from nothing": """
        print(BertTokenizer(), BertTokenizer()("a [MASK]"), GPT2Tokenizer()("a"))
        vocab = {token: index for index, token in enumerate("[PAD] [UNK] [CLS] [SEP] [MASK] a b ##c d".split())}
        for options in ({}, {"do_lower_case": False}, {"cls_token": "a"}, {"mask_token": AddedToken("m", lstrip=True)}):
            tokenizer = BertTokenizer(vocab, **options)
            print(tokenizer, tokenizer("A bc d x m"), tokenizer.tokenize(" m", "D"))
        vocab = {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġa": 4}
        tokenizer = GPT2Tokenizer(vocab, [("a", "b"), ("Ġ", "a")], pad_token="<pad>")
        print(tokenizer, tokenizer(["ab a", "b"], padding=True), tokenizer.decode([4, 1, 5]))
        learnt = BertTokenizer().train_new_from_iterator(
            ["the cat sat on the mat", "the dog"] * 9, 60, new_special_tokens=["<x>"], show_progress=False)
        print(learnt, learnt("the cat <x>", "zebra"), learnt.extra_special_tokens, len(learnt))
        learnt = GPT2Tokenizer.from_pretrained(GPT2).train_new_from_iterator(
            [["the cat sat on the mat"], ["the dog"]], 300, special_tokens_map={"<|endoftext|>": "<end>"},
            show_progress=False)
        print(learnt, learnt("the cat <end>"), learnt.eos_token, learnt.decode(learnt("the dög").input_ids))
        unigram = models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0)
        for model in (unigram, models.WordLevel({"<unk>": 0}, "<unk>")):
            backend = Tokenizer(model)
            backend.pre_tokenizer = pre_tokenizers.Whitespace()
            backend.add_special_tokens(["[SEP]", "[CLS]"])
            backend.post_processor = processors.BertProcessing(("[SEP]", 1), ("[CLS]", 2))
            learnt = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>").train_new_from_iterator(
                ["the cat sat on the mat"] * 9, 30, special_tokens_map={"[SEP]": "[END]"}, show_progress=False)
            ids = learnt("the cat").input_ids
            print(learnt.unk_token, learnt.convert_ids_to_tokens([ids[0], ids[-1]]), learnt.unk_token_id)
            print(sorted(learnt.added_tokens_encoder))
    """,
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_of_books(script: str) -> None:
    """Only the import is changed, and the script prints the same lines."""
    directories = {"BERT": str(real_directory("bert")), "GPT2": str(real_directory("gpt2"))}
    names = "AddedToken, AutoTokenizer, BertTokenizer, GPT2Tokenizer, PreTrainedTokenizerFast"
    printed = {}
    for library in ("transformers", "minitransformers.tokenization"):
        code = f"import copy, pickle\nimport numpy as np\nimport torch\nfrom {library} import {names}\n"
        code += "from tokenizers import Tokenizer, models, pre_tokenizers, processors\n"
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(code + textwrap.dedent(SCRIPTS[script]), dict(directories))
        printed[library] = output.getvalue()
    assert printed["minitransformers.tokenization"] == printed["transformers"]
    assert len(printed["transformers"].splitlines()) > 5


METHODS = [
    *("__init__", "__call__", "encode", "tokenize", "pad", "decode", "batch_decode", "from_pretrained"),
    *("save_pretrained", "save_vocabulary", "add_tokens", "add_special_tokens", "convert_tokens_to_ids"),
    *("convert_ids_to_tokens", "convert_tokens_to_string", "get_special_tokens_mask", "num_special_tokens_to_add"),
    *("apply_chat_template", "get_chat_template", "train_new_from_iterator", "clean_up_tokenization"),
]
LOOK_UPS = [
    *("__init__", "to", "convert_to_tensors", "tokens", "word_ids", "sequence_ids", "char_to_token", "char_to_word"),
    *("token_to_chars", "token_to_word", "token_to_sequence", "word_to_tokens", "word_to_chars"),
]


@pytest.mark.parametrize(
    ("name", "method"),
    [(name, method) for name in CLASSES.values() for method in METHODS]
    + [("BatchEncoding", method) for method in LOOK_UPS],
)
def test_arguments(name: str, method: str) -> None:
    """The same arguments in the same order with the same defaults; further ones are keywords or come after them."""
    mine, reference = (
        inspect.signature(getattr(getattr(library, name), method)).parameters for library in (ours, transformers)
    )
    named = [item for item in reference.values() if item.kind == item.POSITIONAL_OR_KEYWORD]
    assert [item for item in mine if mine[item].kind in POSITIONAL][: len(named)] == [item.name for item in named]
    for item in reference.values():
        if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY):
            assert mine[item.name].default == item.default or item.name == "revision"  # None means "main"


POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


# ---- chats -----------------------------------------------------------------------------------------------------------

TEMPLATES = {
    "plain": """{% for message in messages %}
    {{ message['role'] }}: {{ message.content | trim }}{{ eos_token }}
{% endfor %}
{%- if add_generation_prompt %}assistant: {% endif %}""",
    "marked": """{%- for message in messages -%}
<|im_start|>{{ message.role }}\\n
{%- if message.role == 'assistant' %}{% generation %}{{ message.content }}<|im_end|>{% endgeneration %}
{%- else %}{{ message.content }}<|im_end|>{% endif %}\\n
{%- endfor %}{% if add_generation_prompt %}<|im_start|>assistant\\n{% endif %}""",
    "tools": """{%- set ns = namespace(count=0, names=[]) %}
{%- macro listed(items) %}{% for item in items %}{{ item | tojson(indent=2) }}{% endfor %}{% endmacro %}
{%- if tools %}TOOLS {{ listed(tools) }}{{ tools | tojson }}{% endif %}
{%- if documents %}DOCUMENTS {{ listed(documents) }}{% endif %}
{%- for message in messages %}
{%- if message.role == 'stop' %}{% break %}{% endif %}
{%- set ns.count = ns.count + 1 %}
{{ ns.count }} {{ message.role }} {{ message.thinking }} {{ message.reasoning_content }} {{ message.content }}
{%- if message.tool_calls %}{{ message.tool_calls | tojson }}{% endif %}
{%- endfor %} {{ dict(a=1) }} {{ mood }} {{ bos_token }}""",
    "thinking": "{% for message in messages %}<{{ message.thinking }}>{{ message.content }}{% endfor %}",
}
CONVERSATION = [
    {"role": "user", "content": "Héllo <b>there</b>, <|endoftext|> 世界?", "tool_calls": None},
    {"role": "assistant", "content": "  Hi! ", "reasoning": "greet", "tool_calls": [{"name": "get_weather"}]},
    {"role": "user", "content": "What's up <|im_end|> [SEP]"},
    {"role": "assistant", "content": "Not much, "},
]


class Unit(enum.Enum):
    CELSIUS = "celsius"
    KELVIN = "kelvin"


def get_weather(
    place: str,
    days: int = 3,
    unit: Unit = Unit.CELSIUS,
    mode: Literal["short", "long"] = "short",
    where: tuple[float, float] | None = None,
    names: list[str] | dict[str, int] | None = None,
    mixed: int | str = 1,
    anything: Any = None,
) -> dict[str, list[float]]:
    """Look the weather up.

    It has been known to rain.

    Args:
        place: the town,
            or the village
        days: how many (choices: [1, 3, 7])
        unit: of temperature
        mode: how much: all or little
        where: latitude and longitude
        names: what to call it
        mixed: one or the other
        anything: what you like
    Returns:
        temperatures by day
    """
    return {}


@cache
def chat_tokenizers() -> tuple[Any, Any]:
    tokenizers = both("gpt2", real_directory("gpt2"))
    for tokenizer in tokenizers:
        tokenizer.add_special_tokens({"pad_token": "<pad>", "extra_special_tokens": ["<|im_start|>", "<|im_end|>"]})
        tokenizer.add_tokens(["assistant:"])
        tokenizer.chat_template = dict(TEMPLATES, default=TEMPLATES["plain"], tool_use=TEMPLATES["tools"])
    return tokenizers


CHATS = [
    {"tokenize": False},
    {"add_generation_prompt": True},
    {"add_generation_prompt": True, "return_dict": False},
    {"return_tensors": "pt"},
    {"padding": "max_length", "max_length": 80, "truncation": True, "return_tensors": "np"},
    {"chat_template": "marked", "return_assistant_tokens_mask": True},
    {"chat_template": "marked", "return_assistant_tokens_mask": True, "return_tensors": "pt"},
    {"chat_template": "marked", "return_assistant_tokens_mask": True, "truncation": True, "max_length": 30},
    {"return_assistant_tokens_mask": True},
    {"chat_template": "marked", "continue_final_message": True, "tokenize": False},
    {"continue_final_message": True, "tokenize": False},
    {"tools": [get_weather, {"type": "function", "any": "<schema>"}], "tokenize": False, "mood": "good"},
    {"tools": [get_weather], "documents": [{"title": "a", "text": "b"}], "tokenize": False, "mood": np.float32(1)},
    {"chat_template": "tools", "mood": object(), "tokenize": False, "bos_token": "mine"},
    {"chat_template": "thinking", "continue_final_message": "reasoning_content", "tokenize": False},
    {"chat_template": "{{ messages | length }}", "tokenizer_kwargs": {"return_length": True}},
    {"chat_template": "marked", "sanitize_control_tokens": True},
    {"sanitize_control_tokens": True, "truncation": True, "max_length": 9, "return_tensors": "pt"},
    {"chat_template": "tools", "tools": [get_weather], "sanitize_control_tokens": True, "mood": "<|im_end|>"},
    {"chat_template": "{{ messages[9].content.nothing }}"},
    {"chat_template": "{{ raise_exception('no') }}"},
    {"chat_template": "{{ ''.__class__.__mro__ }}", "tokenize": False},
    {"chat_template": "{% set ns = namespace() %}{% set ns._x = 1 %}{{ messages.append(1) }}"},
]


@pytest.mark.parametrize("call", CHATS, ids=lambda call: re.sub(r" at 0x\w+", "", str(call)))
def test_chats(call: dict[str, Any]) -> None:
    mine, reference = chat_tokenizers()
    ends_with_thought = [*CONVERSATION[:3], {"role": "assistant", "reasoning_content": "hm", "content": "x"}]
    for conversation in (CONVERSATION, CONVERSATION[:2], [CONVERSATION, CONVERSATION[:1]], ends_with_thought):
        got = result_of(lambda: mine.apply_chat_template(conversation, **call), Exception)  # noqa: B023
        expected = result_of(lambda: reference.apply_chat_template(conversation, **call), Exception)  # noqa: B023
        assert repr(got) == repr(expected)


def test_chat_templates_in_files(tmp_path: Path) -> None:
    """Several templates, saved in either form by either library."""
    mine, reference = chat_tokenizers()
    for tokenizer, jinja in itertools.product((mine, reference), (True, False)):
        tokenizer.save_pretrained(tmp_path, save_jinja_files=jinja)
        for library in (ours, transformers):
            assert library.GPT2Tokenizer.from_pretrained(tmp_path).chat_template == mine.chat_template
        shutil.rmtree(tmp_path)
    assert mine.get_chat_template() == reference.get_chat_template() == TEMPLATES["plain"]
    assert mine.get_chat_template(tools=[1]) == reference.get_chat_template(tools=[1]) == TEMPLATES["tools"]
