"""The page's numbers are the model's, and the file needs nothing else."""

from __future__ import annotations

import html
import json
import re

import pytest
import torch

from minitransformers.errors import InputError
from minitransformers.interpret import attention_page, trace
from minitransformers.models.bert import BertModel
from minitransformers.models.gpt2 import GPT2LMHeadModel
from minitransformers.models.t5 import T5ForConditionalGeneration
from minitransformers.testing.examples import example_batch, tiny_model

TOKENS = ["[CLS]", "</script><b>", "<!--", "Ġ“x”", "{{data}}"]


def traced(model_class, **options):
    model = tiny_model(model_class, dtype=torch.float32, **options)
    batch = example_batch(model, labels=False)
    with trace(model) as activations:
        model(**batch)
    return activations


def data_of(page):
    """What the script of the file reads."""
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)[1])


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@pytest.mark.parametrize("model_class", [BertModel, GPT2LMHeadModel, T5ForConditionalGeneration])
def test_the_files_numbers_are_the_models(model_class, kernel, tmp_path):
    activations = traced(model_class, attn_implementation=kernel)
    target = ["a", "b", "c", "d", "e", "f"]
    page = attention_page(activations, TOKENS, target, batch=1)
    data = data_of(page.save(tmp_path / "page.html").read_text("utf-8"))
    assert data == page.data
    calls = {
        "self": (TOKENS, TOKENS),
        "encoder": (TOKENS, TOKENS),
        "decoder": (target, target),
        "cross": (target, TOKENS),
    }
    assert [each["kind"] for each in data["groups"]] == (
        ["encoder", "decoder", "cross"] if model_class is T5ForConditionalGeneration else ["self"]
    )
    for group in data["groups"]:
        assert (group["queries"], group["keys"]) == calls[group["kind"]]
        expected = [each for each in activations.attentions if each.kind == group["kind"]]
        assert len(group["layers"]) == len(expected) == 2
        for layer, call in zip(group["layers"], expected, strict=True):
            assert layer["name"] == call.name
            for name in ("weights", "query", "key"):
                assert torch.equal(torch.tensor(layer[name]), getattr(call, name)[1])


def test_the_file_is_whole_and_loads_nothing():
    page = attention_page(traced(BertModel), TOKENS, title="<Who & whom>").html
    assert "{{title}}" not in page
    assert page.count("</script>") == 2
    assert "<title>&lt;Who &amp; whom&gt;</title>" in page
    assert not re.search(r"https?:|<link|src=|@import|url\(|fetch\(|XMLHttpRequest", page)
    assert "default-src 'none'" in page
    assert data_of(page)["groups"][0]["queries"] == TOKENS


def test_a_notebook_shows_the_file_in_a_frame():
    page = attention_page(traced(BertModel), TOKENS)
    frame = page._repr_html_()
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1]) == page.html
    assert 'title="Attention"' in frame


def test_controls_have_labels():
    page = attention_page(traced(BertModel), TOKENS).html
    for control in ("group", "layer", "head"):
        assert re.search(rf'<label>\w+ <select id="{control}">', page)
    assert page.count('role="listbox" aria-labelledby') == 2
    assert 'role="status"' in page
    assert '<html lang="en">' in page


def test_layers_can_be_chosen():
    page = attention_page(traced(BertModel), TOKENS, layers=[1])
    assert [each["number"] for each in page.data["groups"][0]["layers"]] == [1]


@pytest.mark.usefixtures("annotations_are_not_checked")
@pytest.mark.parametrize(
    ("model_class", "arguments", "options", "message"),
    [
        (BertModel, (TOKENS[:4],), {}, "5 queries and 5 keys, but there are tokens for 4 and 4"),
        (BertModel, (TOKENS,), {"batch": 2}, "no row 2"),
        (BertModel, (TOKENS,), {"layers": [2]}, "no layer 2"),
        (BertModel, ([1, 2, 3, 4, 5],), {}, "convert_ids_to_tokens"),
        (T5ForConditionalGeneration, (TOKENS,), {}, "decoder_tokens"),
    ],
)
def test_what_does_not_fit_is_refused(model_class, arguments, options, message):
    with pytest.raises(InputError, match=message):
        attention_page(traced(model_class), *arguments, **options)
    with trace(tiny_model(BertModel)) as nothing:
        pass
    with pytest.raises(InputError, match="has no attention"):
        attention_page(nothing, TOKENS)
