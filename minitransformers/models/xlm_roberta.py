"""XLM-RoBERTa (Conneau et al., 2019): RoBERTa on text in a hundred languages. The model is that of `roberta.py`."""

from __future__ import annotations

from typing import ClassVar

from minitransformers.configs.fields import size
from minitransformers.models.roberta import (
    RobertaConfig,
    RobertaEmbeddings,
    RobertaEncoder,
    RobertaForCausalLM,
    RobertaForMaskedLM,
    RobertaForMultipleChoice,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaLayer,
    RobertaModel,
    RobertaPreTrainedModel,
)


class XLMRobertaConfig(RobertaConfig):
    """The fields of XLM-RoBERTa's config.json. Published models have 250,002 tokens."""

    model_type = "xlm-roberta"

    vocab_size: int = size(30522)


class XLMRobertaEmbeddings(RobertaEmbeddings):
    """RoBERTa's."""


class XLMRobertaLayer(RobertaLayer):
    """RoBERTa's block."""


class XLMRobertaEncoder(RobertaEncoder):
    """The stack of blocks."""

    layer_class = XLMRobertaLayer


class XLMRobertaPreTrainedModel(RobertaPreTrainedModel):
    """The base of all XLM-RoBERTa classes."""

    config_class = XLMRobertaConfig
    _no_split_modules: ClassVar[list[str]] = ["XLMRobertaEmbeddings", "XLMRobertaLayer"]

    def build_backbone(self, add_pooling_layer: bool = True) -> RobertaModel:
        """A new backbone of the family, for models with a head."""
        return XLMRobertaModel(self.config, add_pooling_layer)


class XLMRobertaModel(XLMRobertaPreTrainedModel, RobertaModel):
    """RoBERTa's backbone."""

    embeddings_class = XLMRobertaEmbeddings
    encoder_class = XLMRobertaEncoder


class XLMRobertaForMaskedLM(XLMRobertaPreTrainedModel, RobertaForMaskedLM):
    """XLM-RoBERTa that fills in masked tokens."""


class XLMRobertaForCausalLM(XLMRobertaPreTrainedModel, RobertaForCausalLM):
    """XLM-RoBERTa as a decoder that predicts the next token."""


class XLMRobertaForSequenceClassification(XLMRobertaPreTrainedModel, RobertaForSequenceClassification):
    """XLM-RoBERTa with a classifier of two layers over the first token."""


class XLMRobertaForMultipleChoice(XLMRobertaPreTrainedModel, RobertaForMultipleChoice):
    """XLM-RoBERTa that scores each of several choices for a text."""


class XLMRobertaForTokenClassification(XLMRobertaPreTrainedModel, RobertaForTokenClassification):
    """XLM-RoBERTa with a linear layer over every token."""


class XLMRobertaForQuestionAnswering(XLMRobertaPreTrainedModel, RobertaForQuestionAnswering):
    """XLM-RoBERTa that finds the answer to a question in a text."""
