"""torch.compile(fullgraph=True) of every class, compiled in place, and with caches of many lengths."""

import pytest

from minitransformers.models.bert import BertConfig
from minitransformers.models.gpt2 import GPT2Config
from minitransformers.testing.families import classes_of

# The family with most of what tracing may stumble over: two stacks, caches, distances. The script knows every class.
FAMILIES = ["T5ForConditionalGeneration"]
OTHERS = [
    "ModernBertForMaskedLM",
    "Qwen2ForCausalLM",
    "BartForConditionalGeneration",
    "GPTNeoXForCausalLM",
    "TransformerForConditionalGeneration",
    "ViTForImageClassification",
]


@pytest.mark.parametrize(
    "family", [pytest.param(BertConfig, marks=pytest.mark.thorough), GPT2Config], ids=["bert", "gpt2"]
)
def test_every_class_is_one_graph_with_padding_and_labels(run_script, family):
    """Traced and run as traced; what compilers make of the graph is tested on one class a family."""
    names = [model_class.__name__ for model_class in classes_of(family)]
    lines = run_script("compile_models.py", "eager", "training", *names).splitlines()
    assert lines == [f"{name}: training with eager as eager" for name in names]


def test_a_model_compiled_in_place_computes_generates_and_keeps_its_names(run_script):
    run_script("compile_models.py", "aot_eager", "in_place", "BertForMaskedLM", "GPT2LMHeadModel")


@pytest.mark.thorough  # test_compile_and_export.py continues from one cache
def test_few_graphs_serve_a_cache_of_any_length(run_script):
    run_script("compile_models.py", "aot_eager", "caching", "GPT2LMHeadModel")


@pytest.mark.parametrize("names", [FAMILIES, pytest.param(OTHERS, marks=pytest.mark.thorough)], ids=["t5", "others"])
def test_every_family_is_one_graph_and_can_be_exported(run_script, names):
    assert run_script("compile_families.py", *names).splitlines() == names
