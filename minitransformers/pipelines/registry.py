"""The tasks: the class of each, the models that it takes, and the model that it loads if none is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minitransformers import auto
from minitransformers.errors import InputError, UnknownNameError, nearest, warn
from minitransformers.pipelines.base import Pipeline
from minitransformers.pipelines.embeddings import (
    SemanticSearchPipeline,
    SentenceEmbeddingPipeline,
    SentenceSimilarityPipeline,
)
from minitransformers.pipelines.feature_extraction import FeatureExtractionPipeline
from minitransformers.pipelines.fill_mask import FillMaskPipeline
from minitransformers.pipelines.image_classification import ImageClassificationPipeline
from minitransformers.pipelines.image_feature_extraction import ImageFeatureExtractionPipeline
from minitransformers.pipelines.question_answering import QuestionAnsweringPipeline
from minitransformers.pipelines.text2text_generation import (
    SummarizationPipeline,
    Text2TextGenerationPipeline,
    TranslationPipeline,
)
from minitransformers.pipelines.text_classification import TextClassificationPipeline
from minitransformers.pipelines.text_generation import TextGenerationPipeline
from minitransformers.pipelines.token_classification import TokenClassificationPipeline
from minitransformers.pipelines.zero_shot_classification import ZeroShotClassificationPipeline


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        implementation: its class.
        models: Auto classes or model classes that load its model; the first that has the model's family is used.
        default: the repository, and its revision, of the model that is loaded if none is given.
    """

    implementation: type[Any]
    models: tuple[Any, ...]
    default: tuple[str, str | None] | None = None


_MINILM = ("sentence-transformers/all-MiniLM-L6-v2", None)
TASKS: dict[str, Task] = {
    "feature-extraction": Task(
        FeatureExtractionPipeline, (auto.AutoModel,), ("distilbert/distilbert-base-cased", "6ea8117")
    ),
    "sentence-embedding": Task(SentenceEmbeddingPipeline, (auto.AutoModelForTextEncoding, auto.AutoModel), _MINILM),
    "sentence-similarity": Task(SentenceSimilarityPipeline, (auto.AutoModelForTextEncoding, auto.AutoModel), _MINILM),
    "semantic-search": Task(SemanticSearchPipeline, (auto.AutoModelForTextEncoding, auto.AutoModel), _MINILM),
    "text-classification": Task(
        TextClassificationPipeline,
        (auto.AutoModelForSequenceClassification,),
        ("distilbert/distilbert-base-uncased-finetuned-sst-2-english", "714eb0f"),
    ),
    "token-classification": Task(
        TokenClassificationPipeline,
        (auto.AutoModelForTokenClassification,),
        ("dbmdz/bert-large-cased-finetuned-conll03-english", "4c53496"),
    ),
    "question-answering": Task(
        QuestionAnsweringPipeline,
        (auto.AutoModelForQuestionAnswering,),
        ("distilbert/distilbert-base-cased-distilled-squad", None),
    ),
    "fill-mask": Task(FillMaskPipeline, (auto.AutoModelForMaskedLM,), ("distilbert/distilroberta-base", "fb53ab8")),
    "zero-shot-classification": Task(
        ZeroShotClassificationPipeline,
        (auto.AutoModelForSequenceClassification,),
        ("facebook/bart-large-mnli", "d7645e1"),
    ),
    "text-generation": Task(TextGenerationPipeline, (auto.AutoModelForCausalLM,), ("openai-community/gpt2", None)),
    "text2text-generation": Task(
        Text2TextGenerationPipeline, (auto.AutoModelForSeq2SeqLM,), ("google-t5/t5-base", None)
    ),
    "summarization": Task(
        SummarizationPipeline, (auto.AutoModelForSeq2SeqLM,), ("sshleifer/distilbart-cnn-12-6", None)
    ),
    "translation": Task(TranslationPipeline, (auto.AutoModelForSeq2SeqLM,), ("google-t5/t5-base", None)),
    "image-classification": Task(
        ImageClassificationPipeline, (auto.AutoModelForImageClassification,), ("google/vit-base-patch16-224", "3f49326")
    ),
    "image-feature-extraction": Task(
        ImageFeatureExtractionPipeline, (auto.AutoModel,), ("google/vit-base-patch16-224", "3f49326")
    ),
}
ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}


class PipelineRegistry:
    """The known tasks; `PIPELINE_REGISTRY` is the one that `pipeline` uses."""

    def __init__(self, supported_tasks: dict[str, Task], task_aliases: dict[str, str]) -> None:
        self.supported_tasks, self.task_aliases = supported_tasks, task_aliases

    def get_supported_tasks(self) -> list[str]:
        """The names of all tasks, aliases among them."""
        return sorted([*self.supported_tasks, *self.task_aliases])

    def find(self, task: str) -> Task:
        """The task of that name; "translation_en_to_fr" and others of its form are translations.

        Raises:
            UnknownNameError: there is none; the message has the nearest.
        """
        name = self.task_aliases.get(task, task)
        if name.startswith("translation_"):
            parts = name.removeprefix("translation_").split("_to_")
            if len(parts) != 2 or not all(parts):
                raise UnknownNameError(f"The task {task!r} must be of the form 'translation_en_to_fr'.")
            name = "translation"
        if name not in self.supported_tasks:
            names = self.get_supported_tasks()
            raise UnknownNameError(
                f"There is no task {task!r}; there are {', '.join(names)}.{nearest(str(task), names)}"
            )
        return self.supported_tasks[name]

    def check_task(self, task: str) -> tuple[str, dict[str, Any], Any]:
        """The task's full name, its class and models, and the languages of a translation."""
        found = self.find(task)
        name = self.task_aliases.get(task, task)
        languages = tuple(name.removeprefix("translation_").split("_to_")) if name.startswith("translation_") else None
        options = {"impl": found.implementation, "pt": found.models, "default": {"model": found.default}}
        return ("translation" if languages else name), options, languages

    def register_pipeline(
        self,
        task: str,
        pipeline_class: type[Any],
        pt_model: Any = None,
        default: Any = None,
        type: str | None = None,  # transformers' name
    ) -> None:
        """Add a task of your own.

        Args:
            task: its name.
            pipeline_class: a subclass of `Pipeline`.
            pt_model: the Auto class or model class that loads its model, or a tuple of them.
            default: {"model": (repository, revision)}, the model to load if none is given.
            type: has no effect.
        """
        if not issubclass(pipeline_class, Pipeline):
            raise InputError(f"pipeline_class={pipeline_class.__name__} must be a subclass of Pipeline.")
        if task in self.supported_tasks:
            warn(f"The task {task!r} was known already: {pipeline_class.__name__} replaces it.")
        models = pt_model if isinstance(pt_model, tuple) else () if pt_model is None else (pt_model,)
        named = default.get("model", default) if isinstance(default, dict) else default
        named = named.get("pt", named) if isinstance(named, dict) else named
        place = (named, None) if isinstance(named, str) else None if named is None else tuple(named)
        self.supported_tasks[task] = Task(pipeline_class, models, place)


PIPELINE_REGISTRY = PipelineRegistry(TASKS, ALIASES)
