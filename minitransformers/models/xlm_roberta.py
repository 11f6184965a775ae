"""XLM-RoBERTa (Conneau et al., 2019): RoBERTa on text in a hundred languages. The model is that of `roberta.py`.

In models with a head, the head is registered before the backbone.
"""

from __future__ import annotations

import logging
from typing import ClassVar

from torch import nn

from minitransformers.configs.fields import size
from minitransformers.errors import ConfigError
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.models.roberta import (
    RobertaAttention,
    RobertaClassificationHead,
    RobertaConfig,
    RobertaCrossAttention,
    RobertaEmbeddings,
    RobertaEncoder,
    RobertaForCausalLM,
    RobertaForMaskedLM,
    RobertaForMultipleChoice,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaIntermediate,
    RobertaLayer,
    RobertaLMHead,
    RobertaModel,
    RobertaOutput,
    RobertaPooler,
    RobertaPreTrainedModel,
    RobertaSelfAttention,
    RobertaSelfOutput,
)

logger = logging.getLogger(__name__)


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


class XLMRobertaLMHead(RobertaLMHead):
    """RoBERTa's."""


class XLMRobertaClassificationHead(RobertaClassificationHead):
    """RoBERTa's."""


# RoBERTa's, under the names that scripts know
XLMRobertaSelfAttention, XLMRobertaCrossAttention = RobertaSelfAttention, RobertaCrossAttention
XLMRobertaAttention, XLMRobertaSelfOutput = RobertaAttention, RobertaSelfOutput
XLMRobertaIntermediate, XLMRobertaOutput, XLMRobertaPooler = RobertaIntermediate, RobertaOutput, RobertaPooler


class XLMRobertaPreTrainedModel(RobertaPreTrainedModel):
    """The base of all XLM-RoBERTa classes."""

    config_class = XLMRobertaConfig
    _no_split_modules: ClassVar[list[str]] = ["XLMRobertaEmbeddings", "XLMRobertaLayer"]


class XLMRobertaModel(XLMRobertaPreTrainedModel, RobertaModel):
    """RoBERTa's backbone."""

    def __init__(self, config: XLMRobertaConfig, add_pooling_layer: bool = True) -> None:
        PreTrainedModel.__init__(self, config)
        self.embeddings = XLMRobertaEmbeddings(config)
        self.encoder = XLMRobertaEncoder(config)
        self.pooler = XLMRobertaPooler(config) if add_pooling_layer else None
        self.post_init()


class XLMRobertaForMaskedLM(XLMRobertaPreTrainedModel, RobertaForMaskedLM):
    """XLM-RoBERTa that fills in masked tokens."""

    def __init__(self, config: XLMRobertaConfig) -> None:
        PreTrainedModel.__init__(self, config)
        if config.is_decoder:
            logger.warning(
                "%s sees both sides only with is_decoder=False; its config has is_decoder=True.", type(self).__name__
            )
        self.lm_head = XLMRobertaLMHead(config)
        self.roberta = XLMRobertaModel(config, add_pooling_layer=False)
        self.post_init()


class XLMRobertaForCausalLM(XLMRobertaPreTrainedModel, RobertaForCausalLM):
    """XLM-RoBERTa as a decoder that predicts the next token."""

    def __init__(self, config: XLMRobertaConfig) -> None:
        PreTrainedModel.__init__(self, config)
        if not config.is_decoder:
            logger.warning(
                "%s sees only what came before with is_decoder=True; its config has False.", type(self).__name__
            )
        self.lm_head = XLMRobertaLMHead(config)
        self.roberta = XLMRobertaModel(config, add_pooling_layer=False)
        self.post_init()


class XLMRobertaForSequenceClassification(XLMRobertaPreTrainedModel, RobertaForSequenceClassification):
    """XLM-RoBERTa with a classifier of two layers over the first token."""

    def __init__(self, config: XLMRobertaConfig) -> None:
        PreTrainedModel.__init__(self, config)
        self.classifier = XLMRobertaClassificationHead(config)
        self.roberta = XLMRobertaModel(config, add_pooling_layer=False)
        self.post_init()


class XLMRobertaForMultipleChoice(XLMRobertaPreTrainedModel, RobertaForMultipleChoice):
    """XLM-RoBERTa that scores each of several choices for a text."""

    def __init__(self, config: XLMRobertaConfig) -> None:
        PreTrainedModel.__init__(self, config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.roberta = XLMRobertaModel(config)
        self.post_init()


class XLMRobertaForTokenClassification(XLMRobertaPreTrainedModel, RobertaForTokenClassification):
    """XLM-RoBERTa with a linear layer over every token."""

    def __init__(self, config: XLMRobertaConfig) -> None:
        PreTrainedModel.__init__(self, config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.roberta = XLMRobertaModel(config, add_pooling_layer=False)
        self.post_init()


class XLMRobertaForQuestionAnswering(XLMRobertaPreTrainedModel, RobertaForQuestionAnswering):
    """XLM-RoBERTa that finds the answer to a question in a text."""

    def __init__(self, config: XLMRobertaConfig) -> None:
        PreTrainedModel.__init__(self, config)
        if config.num_labels != 2:
            raise ConfigError(f"{type(self).__name__} needs num_labels=2 (start and end), got {config.num_labels}.")
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.roberta = XLMRobertaModel(config, add_pooling_layer=False)
        self.post_init()
