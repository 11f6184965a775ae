"""Tokenizers against transformers: the same directory, the same call, the same result."""

from __future__ import annotations

import contextlib
import copy
import enum
import inspect
import io
import itertools
import re
import shutil
import tempfile
import textwrap
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tokenizer_cases as cases
import torch
import transformers
from hypothesis import HealthCheck, given, settings, strategies as st
from tokenizer_comparing import assert_same_call, assert_same_tokenizer, result_of
from tokenizers import AddedToken
from transformers.utils import logging as transformers_logging

import minitransformers.tokenization as ours
from minitransformers.errors import MinitransformersError

transformers_logging.set_verbosity_error()
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SPECIAL = {
    "bert": {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    },
    "gpt2": {"unk_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
}
CLASSES = {"bert": "BertTokenizer", "gpt2": "GPT2Tokenizer"}
FIRST_NEW_ID = {"bert": 30522, "gpt2": 5001}


# ---- drawn directories and texts -------------------------------------------------------------------------------------


AGES = ["before 4.34", "4.34 and later", "4.34 and later, tokenizer.json", "5"]


@st.composite
def directories(draw: st.DrawFn, family: str) -> tuple[str, dict[str, Any]]:
    """A directory of a tokenizer: which transformers wrote it, and its files beside the vocabulary."""
    config = draw({"bert": cases.bert_configs(), "gpt2": cases.gpt2_configs()}[family])
    age = draw(st.sampled_from(AGES))
    files = {}
    if age == "before 4.34":
        files = draw(cases.old_files(SPECIAL[family], FIRST_NEW_ID[family]))
    elif age.startswith("4.34"):
        config["added_tokens_decoder"] = draw(cases.added_tokens(FIRST_NEW_ID[family]))
    if draw(st.booleans()):
        config |= {name: token for name, token in SPECIAL[family].items() if name not in config}
    files["tokenizer_config.json"] = config | {"tokenizer_class": CLASSES[family]}
    return age, files


def write_drawn(family: str, age: str, files: dict[str, Any]) -> Path:
    vocabulary = cases.start_of_vocabulary(family, scratch())
    if age.endswith("tokenizer.json") or age == "5":
        vocabulary = {"tokenizer.json": tokenizer_json(family, added=age == "5")}
    return cases.write_directory(scratch() / f"{family}-{next(_numbers)}", vocabulary, files)


_numbers = itertools.count()


@cache
def real(family: str) -> tuple[Any, Any]:
    """Both tokenizers with the whole real vocabulary, from its files alone."""
    directory = cases.write_directory(scratch() / f"{family}-real", cases.vocabulary(family), {})
    return both(family, directory)


@cache
def scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="tokenizers-"))


@pytest.fixture(scope="module", autouse=True)
def _remove_scratch() -> Any:
    yield
    shutil.rmtree(scratch())
    for cached in (scratch, real, tokenizer_json, cases.start_of_vocabulary):
        cached.cache_clear()


@cache
def tokenizer_json(family: str, *, added: bool) -> Path:
    """A tokenizer.json as the reference saves it, with another pipeline than the directory's configuration asks for."""
    plain = cases.write_directory(
        scratch() / f"{family}-source-{added}", cases.start_of_vocabulary(family, scratch()), {}
    )
    options = {"bert": {"do_lower_case": False}, "gpt2": {"add_bos_token": True, "add_prefix_space": True}}[family]
    tokenizer = getattr(transformers, CLASSES[family]).from_pretrained(plain, **options)
    if added:
        tokenizer.add_tokens([AddedToken("<ent>", lstrip=True), AddedToken("wörd", single_word=True), "NEWtok"])
        tokenizer.add_special_tokens({"extra_special_tokens": ["[mask]"]})
    tokenizer.save_pretrained(plain)
    return plain / "tokenizer.json"


def both(family: str, directory: Path, **options: Any) -> tuple[Any, Any]:
    name = CLASSES[family]
    return (
        getattr(ours, name).from_pretrained(directory, **options),
        getattr(transformers, name).from_pretrained(directory, **options),
    )


many_texts = settings(max_examples=230, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("family", CLASSES)
def test_two_thousand_texts_and_drawn_options(family: str) -> None:
    """Drawn directories, texts in many scripts, single or in pairs, and drawn calls."""
    seen: set[str] = set()

    @many_texts
    @given(st.data())
    def compare(data: st.DataObject) -> None:
        directory = write_drawn(family, *data.draw(directories(family), label="directory"))
        mine, reference = both(family, directory)
        assert_same_tokenizer(mine, reference)
        batch = data.draw(st.lists(cases.texts, min_size=36, max_size=36, unique=True), label="texts")
        seen.update(batch)
        can_pad = reference.pad_token is not None
        half = len(batch) // 2
        single = data.draw(cases.calls(pairs=False, can_pad=can_pad), label="call")
        pairs = data.draw(cases.calls(pairs=True, can_pad=can_pad), label="call with pairs")
        assert_same_call(mine, reference, batch, **single)
        assert_same_call(mine, reference, batch[:half], batch[half:], **pairs)
        assert_same_call(mine, reference, batch[0], **single)
        assert_same_call(mine, reference, batch[0], batch[1], **pairs)
        assert mine.tokenize(batch[0], batch[1]) == reference.tokenize(batch[0], batch[1])
        shutil.rmtree(directory)

    compare()
    assert len(seen) >= 2000, len(seen)


@pytest.mark.parametrize("family", CLASSES)
@given(st.data())
def test_real_vocabulary(family: str, data: st.DataObject) -> None:
    mine, reference = real(family)
    batch = data.draw(st.lists(cases.texts, min_size=8, max_size=8, unique=True))
    assert_same_call(mine, reference, batch, return_offsets_mapping=True, return_special_tokens_mask=True)
    assert_same_call(mine, reference, list(zip(batch[:4], batch[4:], strict=True)), max_length=20, truncation=True)
    for text in batch:
        assert mine.tokenize(text) == reference.tokenize(text)
        assert mine.encode(text, add_special_tokens=False) == reference.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("family", CLASSES)
@given(st.data())
def test_texts_split_into_words(family: str, data: st.DataObject) -> None:
    mine, reference = real(family)
    if family == "gpt2":
        mine, reference = with_prefix_space()
    batch = data.draw(st.lists(cases.words, min_size=4, max_size=4))
    call = data.draw(cases.calls(pairs=True, can_pad=family == "bert")) | {"is_split_into_words": True}
    assert_same_call(mine, reference, batch, batch[::-1], **call)
    assert_same_call(mine, reference, [tuple(batch[:2]), tuple(batch[2:])], **call)
    call.pop("truncation", None)
    assert_same_call(mine, reference, batch, **call)
    assert_same_call(mine, reference, batch[0], **call)
    assert_same_call(mine, reference, batch[0], batch[1], **call)
    assert mine.tokenize(batch[0], is_split_into_words=True) == reference.tokenize(batch[0], is_split_into_words=True)


@cache
def with_prefix_space() -> tuple[Any, Any]:
    return both("gpt2", scratch() / "gpt2-real", add_prefix_space=True)


@given(cases.texts, cases.texts)
def test_tokens_words_and_characters(text: str, other: str) -> None:
    """Every look-up of a BatchEncoding, at every index."""
    mine, reference = (tokenizer([text, text], [other, other]) for tokenizer in real("bert"))
    tokens = len(mine.tokens(1))
    for name, indices, of_sequence in (
        ("token_to_sequence", range(tokens), False),
        ("token_to_word", range(tokens), False),
        ("token_to_chars", range(tokens), False),
        ("word_to_tokens", range(len(text) + 1), True),
        ("char_to_token", range(len(text) + 1), True),
        ("char_to_word", range(len(text) + 1), True),
    ):
        for index, sequence in itertools.product(indices, (0, 1) if of_sequence else (None,)):
            options = {} if sequence is None else {"sequence_index": sequence}
            expected = getattr(reference, name)(1, index, **options)
            assert getattr(mine, name)(1, index, **options) == expected
            assert getattr(mine, name)(index, **options) == expected
    for word in {word for word in mine.word_ids() if word is not None}:
        for sequence in (0, 1):
            if reference.word_to_tokens(word, sequence_index=sequence) is not None:
                assert mine.word_to_chars(word, None, sequence) == reference.word_to_chars(word, None, sequence)


@st.composite
def examples(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What a collator gets: encoded texts with a label each, in lists, arrays or tensors."""
    kind = draw(st.sampled_from([list, np.array, torch.tensor]))
    optional = [name for name in ("attention_mask", "token_type_ids", "special_tokens_mask") if draw(st.booleans())]
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    return [
        {name: kind([length] * length) for name in ("input_ids", *optional)} | {"labels": kind([length])}
        for length in lengths
    ]


@given(examples(), st.data())
def test_pad(batch: list[dict[str, Any]], data: st.DataObject) -> None:
    mine, reference = real("bert")
    call = {
        "padding": data.draw(st.sampled_from([True, "longest", "max_length", False])),
        "max_length": data.draw(st.sampled_from([None, 4, 12])),
        "pad_to_multiple_of": data.draw(st.sampled_from([None, 8])),
        "padding_side": data.draw(st.sampled_from([None, "left", "right"])),
        "return_attention_mask": data.draw(st.sampled_from([None, True, False])),
        "return_tensors": data.draw(st.sampled_from([None, "pt"])),
    }
    if call["padding"] == "max_length":
        call["max_length"] = call["max_length"] or 12  # this vocabulary knows no limit of its own
    columns = {name: [row[name] for row in batch] for name in batch[0]}
    # The reference does not take one sequence that is an array.
    for inputs in (batch, columns, *([] if isinstance(batch[0]["input_ids"], np.ndarray) else [batch[0]])):
        copies = (copy.deepcopy(inputs), copy.deepcopy(inputs))
        got = result_of(lambda: mine.pad(copies[0], **call), MinitransformersError)  # noqa: B023
        expected = result_of(lambda: reference.pad(copies[1], **call), ValueError)  # noqa: B023
        assert repr(got) == repr(expected)
        assert repr(copies[0]) == repr(inputs)  # ours leaves its argument alone


# ---- changing a tokenizer, saving and loading ------------------------------------------------------------------------


@st.composite
def additions(draw: st.DrawFn) -> list[str | AddedToken]:
    flags = st.fixed_dictionaries(
        {name: st.booleans() for name in ("single_word", "lstrip", "rstrip", "normalized", "special")}
    )
    contents = draw(st.lists(st.sampled_from(["<ent>", "NEWtok", "wörd", "世界", "can't", " x ", "👍"]), unique=True))
    return [AddedToken(content, **draw(flags)) if draw(st.booleans()) else content for content in contents]


@pytest.mark.parametrize("family", CLASSES)
@given(st.data())
def test_added_tokens_and_what_is_saved(family: str, data: st.DataObject) -> None:
    """Tokens added in every way; then each library loads what the other has saved."""
    plain = scratch() / f"{family}-plain"
    if not plain.exists():
        cases.write_directory(plain, cases.start_of_vocabulary(family, scratch()), {})
    mine, reference = both(family, plain, model_max_length=64)
    added, special = data.draw(additions()), data.draw(st.booleans())
    named = data.draw(st.sampled_from([{}, {"pad_token": "<p>"}, {"mask_token": AddedToken("<m>", lstrip=True)}]))
    extra = data.draw(st.sampled_from([[], ["<a>", "<b>"]]))
    for tokenizer in (mine, reference):
        tokenizer.padding_side = "left" if special else "right"
        tokenizer.chat_template = "{{ messages }}"
    counts = [
        (
            tokenizer.add_tokens(added, special_tokens=special),
            tokenizer.add_special_tokens(named | ({"extra_special_tokens": extra} if extra else {})),
            tokenizer.add_special_tokens({"extra_special_tokens": ["<b>", "<c>"]}, replace_extra_special_tokens=False),
        )
        for tokenizer in (mine, reference)
    ]
    assert counts[0] == counts[1]
    assert_same_tokenizer(mine, reference)
    batch = data.draw(st.lists(cases.texts, min_size=4, max_size=4))
    batch += [f"a {token} b{token}c  {token} " for token in [*added, "<m>", "<a>"]]
    assert_same_call(mine, reference, batch, padding=mine.pad_token is not None, return_offsets_mapping=True)

    with tempfile.TemporaryDirectory() as folder:
        here, there = Path(folder, "here"), Path(folder, "there")
        mine.save_pretrained(here)
        reference.init_kwargs["padding_side"] = reference.padding_side  # else the reference does not save it
        reference.save_pretrained(there)
        loaded = [
            getattr(library, name).from_pretrained(directory)
            for directory in (here, there)
            for library in (ours, transformers)
            for name in (CLASSES[family], "AutoTokenizer")
        ]
    for tokenizer in loaded:
        assert type(tokenizer).__name__ == CLASSES[family]
        assert tokenizer.chat_template == "{{ messages }}"
        assert_same_tokenizer(tokenizer, mine)
        assert dict(tokenizer(batch)) == dict(mine(batch))
        assert tokenizer.batch_decode(mine(batch)["input_ids"]) == mine.batch_decode(mine(batch)["input_ids"])


def test_any_tokenizer_json() -> None:
    """A pipeline of neither class, with truncation and padding stored in the file."""
    generic = scratch() / "generic"
    generic.mkdir()
    backend = transformers.AutoTokenizer.from_pretrained(real_directory("bert")).backend_tokenizer
    backend.enable_truncation(5, direction="left")
    backend.enable_padding(direction="left", pad_token="[PAD]", length=9)
    backend.save(str(generic / "tokenizer.json"))
    mine = ours.AutoTokenizer.from_pretrained(generic, unk_token="[UNK]")
    reference = transformers.PreTrainedTokenizerFast.from_pretrained(generic, unk_token="[UNK]")
    assert_same_tokenizer(mine, reference)
    assert (mine.padding_side, mine.truncation_side, mine.pad_token) == ("left", "left", "[PAD]")
    batch = ["one two three four five six seven", "one"]
    for call in ({}, {"padding": True}, {"truncation": True, "max_length": 4}, {"return_token_type_ids": True}):
        assert_same_call(mine, reference, batch, **call)
        assert_same_call(ours.PreTrainedTokenizerFast(tokenizer_object=backend), reference, batch, **call)
    assert ours.PreTrainedTokenizerFast(tokenizer_file=generic / "tokenizer.json").add_bos_token is False
    saved = mine.save_pretrained(scratch() / "generic-saved")
    assert [Path(path).name for path in saved] == ["tokenizer_config.json", "tokenizer.json"]
    again = transformers.AutoTokenizer.from_pretrained(scratch() / "generic-saved")
    assert_same_tokenizer(mine, again)
    assert_same_call(mine, again, batch, padding=True)


def real_directory(family: str) -> Path:
    real(family)
    directory = scratch() / f"{family}-real"
    config = f'{{"tokenizer_class": "{CLASSES[family]}"}}'
    (directory / "tokenizer_config.json").write_text(config)
    return directory


# ---- as books do it --------------------------------------------------------------------------------------------------

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
    """The same printed lines, with nothing but the import changed."""
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
    """The same arguments in the same order with the same defaults; further ones only by name or behind them."""
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


# ---- would it notice? ------------------------------------------------------------------------------------------------

MUTATIONS = {
    "lower case": ("bert", {"do_lower_case": False}, "Ab"),
    "accents": ("bert", {"strip_accents": False}, "é"),
    "Chinese characters": ("bert", {"tokenize_chinese_chars": False}, "世界"),
    "special tokens": ("bert", {"cls_token": "[MASK]"}, "a"),
    "split special tokens": ("bert", {"split_special_tokens": True}, "[MASK]"),
    "truncation side": ("bert", {"truncation_side": "left"}, "a b c d e"),
    "padding side": ("bert", {"padding_side": "left"}, "a"),
    "prefix space": ("gpt2", {"add_prefix_space": True}, "a"),
    "begin of text": ("gpt2", {"add_bos_token": True}, "a"),
    "cleaning up": ("bert", {"clean_up_tokenization_spaces": True}, "it's"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mutation_is_noticed(mutation: str) -> None:
    family, options, text = MUTATIONS[mutation]
    mine = both(family, real_directory(family), **options)[0]
    reference = real(family)[1]
    call = {"padding": "max_length", "max_length": 5, "truncation": True} if family == "bert" else {}
    with pytest.raises(AssertionError):
        assert_same_call(mine, reference, [text], **call)
