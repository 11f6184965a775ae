"""torch.compile(fullgraph=True) of every class, compiled in place, and with caches of many lengths."""

import pytest

from minitransformers.testing.examples import BERT_CLASSES, GPT2_CLASSES


@pytest.mark.parametrize("classes", [BERT_CLASSES, GPT2_CLASSES], ids=["bert", "gpt2"])
def test_every_class_is_one_graph_with_padding_and_labels(run_script, classes):
    """Traced and run as traced; what compilers make of the graph is tested on one class a family."""
    names = [model_class.__name__ for model_class in classes]
    lines = run_script("compile_models.py", "eager", "training", *names).splitlines()
    assert lines == [f"{name}: training with eager as eager" for name in names]


def test_a_model_compiled_in_place_computes_generates_and_keeps_its_names(run_script):
    run_script("compile_models.py", "aot_eager", "in_place", "BertForMaskedLM", "GPT2LMHeadModel")


def test_few_graphs_serve_a_cache_of_any_length(run_script):
    run_script("compile_models.py", "aot_eager", "caching", "GPT2LMHeadModel")


@pytest.mark.parametrize("name", ["Qwen2ForCausalLM", "GPTNeoXForCausalLM", "ModernBertForMaskedLM"])
def test_windows_turns_and_shared_heads_are_traced(run_script, name):
    """Families after GPT-2, compiled and exported; the script knows the others too."""
    assert run_script("compile_later_models.py", name).splitlines() == [name]
