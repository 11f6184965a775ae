"""Tasks: `pipeline("fill-mask", model=…)` and the classes behind it.

Read base.py first: how an input becomes an answer in three steps. Each task is then a file of its own.
"""

from minitransformers.pipelines.base import (
    ChunkPipeline as ChunkPipeline,
    Pipeline as Pipeline,
    PipelineException as PipelineException,
)
from minitransformers.pipelines.datasets import KeyDataset as KeyDataset, KeyPairDataset as KeyPairDataset
from minitransformers.pipelines.embeddings import (
    SemanticSearchPipeline as SemanticSearchPipeline,
    SentenceEmbeddingPipeline as SentenceEmbeddingPipeline,
    SentenceSimilarityPipeline as SentenceSimilarityPipeline,
)
from minitransformers.pipelines.factory import pipeline as pipeline
from minitransformers.pipelines.feature_extraction import FeatureExtractionPipeline as FeatureExtractionPipeline
from minitransformers.pipelines.fill_mask import FillMaskPipeline as FillMaskPipeline
from minitransformers.pipelines.generating import ReturnType as ReturnType
from minitransformers.pipelines.image_classification import ImageClassificationPipeline as ImageClassificationPipeline
from minitransformers.pipelines.image_feature_extraction import (
    ImageFeatureExtractionPipeline as ImageFeatureExtractionPipeline,
)
from minitransformers.pipelines.question_answering import QuestionAnsweringPipeline as QuestionAnsweringPipeline
from minitransformers.pipelines.registry import (
    PIPELINE_REGISTRY as PIPELINE_REGISTRY,
    PipelineRegistry as PipelineRegistry,
)
from minitransformers.pipelines.text2text_generation import (
    SummarizationPipeline as SummarizationPipeline,
    Text2TextGenerationPipeline as Text2TextGenerationPipeline,
    TranslationPipeline as TranslationPipeline,
)
from minitransformers.pipelines.text_classification import TextClassificationPipeline as TextClassificationPipeline
from minitransformers.pipelines.text_generation import TextGenerationPipeline as TextGenerationPipeline
from minitransformers.pipelines.token_classification import (
    AggregationStrategy as AggregationStrategy,
    NerPipeline as NerPipeline,
    TokenClassificationPipeline as TokenClassificationPipeline,
)
from minitransformers.pipelines.zero_shot_classification import (
    ZeroShotClassificationPipeline as ZeroShotClassificationPipeline,
)


def get_supported_tasks() -> list[str]:
    """The names of all tasks."""
    return PIPELINE_REGISTRY.get_supported_tasks()
