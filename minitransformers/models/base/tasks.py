"""What the Auto classes return, as type checkers and editors see it; no object is of these classes.

`AutoModelForMaskedLM.from_pretrained` gives a `BertForMaskedLM` or another class for this task: a model whose call
returns a `MaskedLMOutput`, which is all that is known before config.json is read.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from minitransformers.generation.mixin import GenerationMixin
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.outputs import (
    AlbertForPreTrainingOutput,
    BaseModelOutputWithPoolingAndCrossAttentions,
    BertForPreTrainingOutput,
    CausalLMOutput,
    QuestionAnsweringModelOutput,
    Seq2SeqModelOutput,
    Seq2SeqQuestionAnsweringModelOutput,
    Seq2SeqSequenceClassifierOutput,
    SequenceClassifierOutputWithPast,
)

Output = TypeVar("Output", covariant=True)


class TaskModel(PreTrainedModel, Generic[Output]):
    """A model of any family for one task."""

    def forward(self, *args: Any, **inputs: Any) -> Output:
        """The forward pass of the family's class."""
        raise TypeError("TaskModel is for type checkers: load a model with an Auto class.")


class GenerativeModel(TaskModel[Output], GenerationMixin):
    """A model of any family that writes texts."""


# Where the outputs of families differ: all fields that one may have.


class BackboneOutput(BaseModelOutputWithPoolingAndCrossAttentions, Seq2SeqModelOutput):
    """The output of an encoder, a decoder, or both."""


class PreTrainingOutput(BertForPreTrainingOutput, AlbertForPreTrainingOutput, CausalLMOutput):
    """The output of a model with the heads that it was pre-trained with."""


class ClassifierOutput(SequenceClassifierOutputWithPast, Seq2SeqSequenceClassifierOutput):
    """The output of a model that classifies texts."""


class SpanOutput(QuestionAnsweringModelOutput, Seq2SeqQuestionAnsweringModelOutput):
    """The output of a model that finds answers."""
