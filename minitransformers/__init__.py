"""The transformers API that you know, in PyTorch code that you can read end to end.

    from minitransformers import AutoModel, AutoTokenizer

README.md gives the order in which to read the source.
"""

from typing import Any

from minitransformers.auto import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForNextSentencePrediction,
    AutoModelForPreTraining,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)
from minitransformers.configuration import Config
from minitransformers.errors import (
    CheckpointError,
    ConfigError,
    InputError,
    MinitransformersError,
    MissingFileError,
    TokenizationError,
    UnknownArgumentError,
    UnknownNameError,
)
from minitransformers.models.bert import (
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertLMHeadModel,
    BertModel,
    BertPreTrainedModel,
)
from minitransformers.models.gpt2 import (
    GPT2Config,
    GPT2DoubleHeadsModel,
    GPT2ForQuestionAnswering,
    GPT2ForSequenceClassification,
    GPT2ForTokenClassification,
    GPT2LMHeadModel,
    GPT2Model,
    GPT2PreTrainedModel,
)
from minitransformers.models.pretrained import PreTrainedModel
from minitransformers.nn.cache import KeyValueCache
from minitransformers.tokenization import (
    AddedToken,
    AutoTokenizer,
    BatchEncoding,
    BertTokenizer,
    BertTokenizerFast,
    GPT2Tokenizer,
    GPT2TokenizerFast,
    PreTrainedTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

__version__ = "0.1.0"

# Names under which transformers has the same thing, or almost: scripts import them.
DynamicCache = KeyValueCache
PreTrainedConfig = PretrainedConfig = Config

# Names that text books use and that transformers 5 no longer has: what to use in their place.
REMOVED_NAMES = {
    "AdamW": "torch.optim.AdamW",
    "AutoModelWithLMHead": "AutoModelForCausalLM or AutoModelForMaskedLM",
    "TextDataset": "a tokenizer over the file's lines, and a torch Dataset",
    "LineByLineTextDataset": "a tokenizer over the file's lines, and a torch Dataset",
    "TextDatasetForNextSentencePrediction": "pairs of sentences made with tokenizer(sentences_a, sentences_b)",
    "TFBertModel": "BertModel: everything here is PyTorch",
    "TFGPT2LMHeadModel": "GPT2LMHeadModel: everything here is PyTorch",
    "TFAutoModel": "AutoModel: everything here is PyTorch",
}


def __getattr__(name: str) -> Any:
    if name in REMOVED_NAMES:
        raise ImportError(f"{name} was removed from transformers 5 and is not here either: use {REMOVED_NAMES[name]}.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AddedToken",
    "AutoConfig",
    "AutoModel",
    "AutoModelForCausalLM",
    "AutoModelForMaskedLM",
    "AutoModelForMultipleChoice",
    "AutoModelForNextSentencePrediction",
    "AutoModelForPreTraining",
    "AutoModelForQuestionAnswering",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "AutoTokenizer",
    "BatchEncoding",
    "BertConfig",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertLMHeadModel",
    "BertModel",
    "BertPreTrainedModel",
    "BertTokenizer",
    "BertTokenizerFast",
    "CheckpointError",
    "Config",
    "ConfigError",
    "DynamicCache",
    "GPT2Config",
    "GPT2DoubleHeadsModel",
    "GPT2ForQuestionAnswering",
    "GPT2ForSequenceClassification",
    "GPT2ForTokenClassification",
    "GPT2LMHeadModel",
    "GPT2Model",
    "GPT2PreTrainedModel",
    "GPT2Tokenizer",
    "GPT2TokenizerFast",
    "InputError",
    "KeyValueCache",
    "MinitransformersError",
    "MissingFileError",
    "PreTrainedConfig",
    "PreTrainedModel",
    "PreTrainedTokenizer",
    "PreTrainedTokenizerBase",
    "PreTrainedTokenizerFast",
    "PretrainedConfig",
    "TokenizationError",
    "UnknownArgumentError",
    "UnknownNameError",
]
