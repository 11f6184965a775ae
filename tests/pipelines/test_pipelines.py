"""What all tasks share: how they are made, fed and extended, and their errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tiny_pipelines as tiny
import torch

import minitransformers
from minitransformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    CheckpointError,
    InputError,
    Pipeline,
    PipelineException,
    TextClassificationPipeline,
    UnknownArgumentError,
    UnknownNameError,
    logging,
    pipeline,
)
from minitransformers.pipelines import PIPELINE_REGISTRY, ChunkPipeline
from minitransformers.pipelines.pt_utils import KeyDataset, KeyPairDataset

Saved = Callable[..., str]
CLASSIFIER = "BertForSequenceClassification"


@pytest.fixture(scope="module")
def classify(saved: Saved) -> Any:
    return pipeline("text-classification", saved(CLASSIFIER))


# ---- making them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        (CLASSIFIER, "text-classification"),
        ("BertForMaskedLM", "fill-mask"),
        ("BertForTokenClassification", "token-classification"),
        ("BertForQuestionAnswering", "question-answering"),
        ("BertModel", "feature-extraction"),
        ("GPT2LMHeadModel", "text-generation"),
        ("T5ForConditionalGeneration", "text2text-generation"),
    ],
)
def test_the_architecture_tells_the_task(saved: Saved, architecture: str, task: str) -> None:
    directory = saved(architecture)
    assert pipeline(model=directory).task == task
    model = getattr(minitransformers, architecture).from_pretrained(directory)
    assert pipeline(model=model, tokenizer=directory).task == task


def test_objects_places_and_keywords(saved: Saved, classify: Any, tmp_path: Any) -> None:
    directory = saved(CLASSIFIER)
    expected = classify("a film")
    model, tokenizer = (
        BertForSequenceClassification.from_pretrained(directory),
        AutoTokenizer.from_pretrained(directory),
    )
    for options in (
        {"model": model, "tokenizer": tokenizer},
        {
            "model": directory,
            "tokenizer": (directory, {"use_fast": True}),
            "torch_dtype": torch.float32,
            "revision": None,
        },
        {"model": directory, "config": directory, "device": "cpu", "model_kwargs": {"dtype": "float32"}},
        {"model": directory, "device_map": "cpu", "trust_remote_code": False, "num_workers": 2, "framework": "pt"},
    ):
        tiny.assert_same(pipeline("sentiment-analysis", **options)("a film"), expected)
    assert TextClassificationPipeline(model=model, tokenizer=tokenizer)("a film") == expected
    assert pipeline("text-classification", directory, dtype="bfloat16").dtype == torch.bfloat16
    classify.save_pretrained(tmp_path)
    tiny.assert_same(pipeline(model=str(tmp_path))("a film"), expected)
    assert classify.predict(["a film"]) == classify.transform(["a film"]) == expected
    assert "TextClassificationPipeline" in repr(classify)


def test_a_model_in_training_mode_has_no_dropout_and_stays_in_its_mode(saved: Saved) -> None:
    model = BertForSequenceClassification.from_pretrained(saved(CLASSIFIER))
    classify = pipeline("text-classification", model, tokenizer=saved(CLASSIFIER))
    expected = classify("a film")
    model.train()
    model.bert.embeddings.eval()
    assert classify("a film") == expected
    assert model.classifier.training
    assert not model.bert.embeddings.training


# ---- feeding them ----------------------------------------------------------------------------------------------------


def test_lists_data_sets_generators_and_iterables(classify: Any) -> None:
    texts = tiny.texts(11, 25)
    records = [{"text": text, "more": "rain"} for text in texts]
    expected = classify(texts, truncation=True)
    stream = classify(KeyDataset(records, "text"), truncation=True, batch_size=4)
    assert len(stream) == len(texts)
    tiny.assert_same(list(stream), expected)
    tiny.assert_same(list(classify((text for text in texts), truncation=True)), expected)
    tiny.assert_same(list(classify(dict.fromkeys(texts).keys(), truncation=True)), expected)
    tiny.assert_same(classify(tuple(texts), truncation=True), expected)
    pairs = list(classify(KeyPairDataset(records, "text", "more"), truncation=True))
    tiny.assert_same(pairs[3], classify({"text": texts[3], "text_pair": "rain"}, truncation=True))
    assert classify([]) == []
    with pytest.raises(TypeError, match="no length"):
        len(classify(text for text in texts))


def test_a_generator_is_read_as_it_is_needed(classify: Any) -> None:
    read = []

    def texts() -> Iterator[str]:
        for number in range(100):
            read.append(number)
            yield f"film {number}"

    answers = classify(texts(), batch_size=2)
    next(answers)
    assert len(read) <= 4


def test_progress(classify: Any, capsys: pytest.CaptureFixture[str]) -> None:
    classify(["a", "b"])
    assert not capsys.readouterr().err
    classify(["a", "b"], progress=True)
    assert "2/2" in capsys.readouterr().err
    logging.disable_progress_bar()
    try:
        classify(["a", "b"], progress=True)
    finally:
        logging.enable_progress_bar()
    assert not capsys.readouterr().err


# ---- tasks of a user's own -------------------------------------------------------------------------------------------


class Longest(Pipeline):
    """A task as the reference's documentation writes one."""

    def _sanitize_parameters(self, **kwargs: Any) -> Any:
        return {}, {}, {"scale": kwargs["scale"]} if "scale" in kwargs else {}

    def preprocess(self, inputs: Any) -> Any:
        return self.tokenizer(inputs, return_tensors="pt")

    def _forward(self, model_inputs: Any) -> Any:
        return self.model(**model_inputs)

    def postprocess(self, model_outputs: Any, scale: float = 1.0) -> float:
        return scale * model_outputs.logits[0].softmax(-1).max().item()


class Windows(ChunkPipeline):
    def _sanitize_parameters(self, **kwargs: Any) -> Any:
        return {}, {}, {}

    def preprocess(self, inputs: Any) -> Any:
        words = inputs.split()
        for number, word in enumerate(words):
            yield {"is_last": number == len(words) - 1, "word": word, **self.tokenizer(word, return_tensors="pt")}

    def _forward(self, model_inputs: Any) -> Any:
        is_last, word = model_inputs.pop("is_last"), model_inputs.pop("word")
        return {"is_last": is_last, "word": word, "logits": self.model(**model_inputs).logits}

    def postprocess(self, model_outputs: Any) -> list[str]:
        return [output["word"] for output in model_outputs]


def test_own_tasks(saved: Saved, classify: Any) -> None:
    PIPELINE_REGISTRY.register_pipeline("longest", Longest, pt_model=AutoModelForSequenceClassification)
    try:
        longest = pipeline("longest", saved(CLASSIFIER), scale=2.0)
        expected = [2 * classify(text, function_to_apply="softmax")[0]["score"] for text in ("a film", "rain, rain!")]
        tiny.assert_same(longest(["a film", "rain, rain!"], batch_size=2), expected)
    finally:
        del PIPELINE_REGISTRY.supported_tasks["longest"]
    windows = pipeline("text-classification", saved(CLASSIFIER), pipeline_class=Windows)
    texts = ["a b c", "d", "e f"]
    assert windows(texts, batch_size=2) == [text.split() for text in texts]


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("text-clasification", "Did you mean 'text-classification'"),
        ("fillmask", "Did you mean 'fill-mask'"),
        ("translation_en", "must be of the form 'translation_en_to_fr'"),
        ("automatic-speech-recognition", "There is no task"),
    ],
)
def test_unknown_tasks(task: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        pipeline(task)
    with pytest.raises(KeyError):  # as in transformers
        pipeline(task)


@pytest.mark.parametrize(
    ("task", "architecture", "message"),
    [
        ("text-classification", "BertModel", r"no head for text-classification: its weights lack classifier.bias"),
        ("ner", "BertForMaskedLM", "It is a BertForMaskedLM: fine-tune it"),
        ("question-answering", CLASSIFIER, "no head for question-answering"),
        ("fill-mask", "GPT2LMHeadModel", "'gpt2', which has no model for fill-mask. Known are albert"),
        ("summarization", "BertForMaskedLM", "Known are bart, t5"),
        ("image-classification", "BertModel", "has no model for image-classification"),
    ],
)
def test_a_checkpoint_without_the_head(
    saved: Saved, task: str, architecture: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CheckpointError, match=message):
        pipeline(task, saved(architecture))
    assert not caplog.records


def test_a_model_object_without_the_head(saved: Saved) -> None:
    model = AutoModelForMaskedLM.from_pretrained(saved("BertForMaskedLM"))
    with pytest.raises(InputError, match="BertForMaskedLM has no such head"):
        pipeline("text-classification", model, tokenizer=saved("BertForMaskedLM"))
    with pytest.raises(InputError, match="Pass tokenizer=… too"):
        pipeline("fill-mask", model)


def test_texts_that_no_model_can_read(saved: Saved, classify: Any) -> None:
    long = "film " * 90
    for call in (lambda: classify(long), lambda: classify(["a", long], batch_size=2)):
        with pytest.raises(InputError, match=r"has \d+ tokens, and the model takes at most 48: pass truncation=True"):
            call()
    generate = pipeline("text-generation", saved("GPT2LMHeadModel"))
    for call in (lambda: generate(long), lambda: pipeline("feature-extraction", saved("GPT2Model"))(long)):
        with pytest.raises(InputError, match="takes at most 48"):
            call()
    with pytest.raises(InputError, match="has no tokens"):
        pipeline("feature-extraction", saved("GPT2Model"))("")
    for wrong in (3, None, [["a"]], [3]):
        with pytest.raises(InputError, match="must be a str"):
            classify(wrong)


def test_a_tokenizer_without_a_limit_cuts_at_the_models(saved: Saved, classify: Any) -> None:
    tokenizer = AutoTokenizer.from_pretrained(saved(CLASSIFIER), model_max_length=None)
    tokenizer.model_max_length = int(1e30)
    free = pipeline("text-classification", saved(CLASSIFIER), tokenizer=tokenizer)
    tiny.assert_same(free("film " * 90, truncation=True), classify("film " * 90, truncation=True))
    tag = pipeline("ner", saved("BertForTokenClassification"), tokenizer=tokenizer, ignore_labels=[])
    with pytest.warns(UserWarning, match="The end of the text .* has no labels: it has more than 48 tokens"):
        assert len(tag("film " * 90)) == 46


@pytest.mark.parametrize(
    ("task", "architecture", "options", "message"),
    [
        ("fill-mask", "BertForMaskedLM", {"target": "a"}, "takes no argument 'target'. Did you mean 'targets'"),
        ("ner", "BertForTokenClassification", {"agregation_strategy": "max"}, "Did you mean 'aggregation_strategy'"),
        ("question-answering", "BertForQuestionAnswering", {"topk": 2}, "Did you mean 'top_k'"),
        ("text-classification", CLASSIFIER, {"truncate": True}, "takes no argument 'truncate'"),
        ("text-classification", CLASSIFIER, {"return_all_scores": True}, "pass top_k=None"),
        ("text-generation", "GPT2LMHeadModel", {"max_new_token": 3}, "Did you mean 'max_new_tokens'"),
        ("feature-extraction", "BertModel", {"return_tensor": True}, "Did you mean 'return_tensors'"),
    ],
)
def test_misspelt_keywords(saved: Saved, task: str, architecture: str, options: Any, message: str) -> None:
    with pytest.raises(UnknownArgumentError, match=message):
        pipeline(task, saved(architecture), **options)


@pytest.mark.parametrize(
    ("task", "architecture", "options", "message"),
    [
        ("ner", "BertForTokenClassification", {"aggregation_strategy": "mean"}, "must be one of 'none', 'simple'"),
        ("ner", "BertForTokenClassification", {"stride": 47, "aggregation_strategy": "max"}, "must be smaller than"),
        ("ner", "BertForTokenClassification", {"stride": 4, "aggregation_strategy": "none"}, "stride needs"),
        ("text-classification", CLASSIFIER, {"function_to_apply": "relu"}, "must be one of 'sigmoid', 'softmax'"),
        ("text-classification", CLASSIFIER, {"batch_size": 0}, "batch_size=0 must be a whole number of at least 1"),
        ("question-answering", "BertForQuestionAnswering", {"top_k": 0}, "top_k=0 must be"),
        ("text-generation", "GPT2LMHeadModel", {"return_text": True, "return_tensors": True}, "exclude each other"),
        ("text-generation", "GPT2LMHeadModel", {"handle_long_generation": "cut"}, "must be one of 'hole'"),
        ("text-classification", CLASSIFIER, {"binary_output": True}, "not supported"),
        ("text-classification", CLASSIFIER, {"model_kwargs": {"dtype": "float16"}, "dtype": "float32"}, "given twice"),
    ],
)
def test_impossible_values(saved: Saved, task: str, architecture: str, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pipeline(task, saved(architecture), **options)


def test_fill_mask_without_a_mask(saved: Saved) -> None:
    fill = pipeline("fill-mask", saved("BertForMaskedLM"))
    for text, options in (("a film", {}), ("film " * 90 + "[MASK]", {"truncation": True})):
        with pytest.raises(PipelineException, match="No mask_token") as caught:
            fill(text, **options)
        assert caught.value.task == "fill-mask"
    with pytest.raises(InputError, match="pass at least one word"):
        fill("[MASK]", targets=[])


def test_zero_shot_needs_labels(saved: Saved) -> None:
    with pytest.warns(UserWarning, match="No label of the model is called 'entailment'"):
        classify = pipeline("zero-shot-classification", saved(CLASSIFIER))
    for options, message in (
        ({}, "at least one label"),
        ({"candidate_labels": []}, "at least one label"),
        ({"candidate_labels": ["a"], "hypothesis_template": "It is."}, "has no {} where the label goes"),
    ):
        with pytest.raises(InputError, match=message):
            classify("a film", **options)


def test_batches_need_a_padding_token(saved: Saved) -> None:
    tokenizer = AutoTokenizer.from_pretrained(saved("GPT2LMHeadModel"))
    tokenizer.pad_token = None
    generate = pipeline("text-generation", saved("GPT2LMHeadModel"), tokenizer=tokenizer, max_new_tokens=2)
    with pytest.raises(InputError, match="needs a padding token"):
        generate(["Ada", "Ada Lovelace wrote"], batch_size=2)


# ---- schemes of labels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("B-PER I-PER O B-LOC B-LOC", ["PER 0 2", "LOC 3 4", "LOC 4 5"]),  # IOB2
        ("I-PER I-PER B-PER O I-LOC", ["PER 0 2", "PER 2 3", "LOC 4 5"]),  # IOB1
        ("B-PER I-PER E-PER S-PER S-LOC", ["PER 0 3", "PER 3 4", "LOC 4 5"]),  # BIOES
        ("B-PER E-PER B-PER E-PER O", ["PER 0 2", "PER 2 4"]),
        ("I-PER E-PER I-PER E-PER S-PER", ["PER 0 2", "PER 2 4", "PER 4 5"]),
        ("B-PER I-PER L-PER U-PER U-LOC", ["PER 0 3", "PER 3 4", "LOC 4 5"]),  # BILOU
        ("N N V V N", ["N 0 2", "V 2 4", "N 4 5"]),  # no prefixes
    ],
)
def test_schemes_of_labels(saved: Saved, tags: str, entities: list[str]) -> None:
    names = dict(enumerate(dict.fromkeys([*tags.split(), "O"])))
    labels = {name: number for number, name in names.items()}
    tokenizer = AutoTokenizer.from_pretrained(saved(CLASSIFIER))
    words = list("aieto")

    class Says(minitransformers.BertForTokenClassification):
        """Gives the tokens of the text these labels."""

        def forward(self, input_ids: torch.Tensor, **others: Any) -> Any:
            output = super().forward(input_ids, **others)
            numbers = torch.tensor([[labels["O"], *(labels[tag] for tag in tags.split()), labels["O"]]])
            output.logits = torch.nn.functional.one_hot(numbers, len(labels)) * 9.0
            return output

    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        id2label=names, label2id=labels,
    )  # fmt: skip
    tag = pipeline("ner", Says(config).eval(), tokenizer=tokenizer, aggregation_strategy="simple")
    places = {start: number for number, start in enumerate(_starts(words))}
    ends = {start + len(word): number + 1 for (start, number), word in zip(places.items(), words, strict=True)}
    found = tag(" ".join(words))
    assert [f"{each['entity_group']} {places[each['start']]} {ends[each['end']]}" for each in found] == entities


def _starts(words: list[str]) -> list[int]:
    return [len(" ".join([*words[:number], ""])) for number in range(len(words))]
