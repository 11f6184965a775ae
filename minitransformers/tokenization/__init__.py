"""Text to ids and back, with the interface of transformers on the Rust library `tokenizers`.

Read `base/codec.py` for a call, `families/bert.py` and `families/gpt2.py` for two pipelines, `base/tokenizer_files.py`
for loading, and `chat/templates.py` for conversations.
"""

from tokenizers import AddedToken

from minitransformers.tokenization.auto import AutoTokenizer
from minitransformers.tokenization.base.arguments import PaddingStrategy, TruncationStrategy
from minitransformers.tokenization.base.encoding import BatchEncoding, CharSpan, TensorType, TokenSpan
from minitransformers.tokenization.base.tokenizer import PreTrainedTokenizer
from minitransformers.tokenization.families.albert import AlbertTokenizer, AlbertTokenizerFast
from minitransformers.tokenization.families.bert import (
    BertTokenizer,
    BertTokenizerFast,
    DistilBertTokenizer,
    DistilBertTokenizerFast,
    ElectraTokenizer,
    ElectraTokenizerFast,
)
from minitransformers.tokenization.families.from_files import (
    GPTNeoXTokenizer,
    GPTNeoXTokenizerFast,
    LlamaTokenizer,
    LlamaTokenizerFast,
    Qwen2Tokenizer,
    Qwen2TokenizerFast,
)
from minitransformers.tokenization.families.gpt2 import GPT2Tokenizer, GPT2TokenizerFast
from minitransformers.tokenization.families.openai_gpt import OpenAIGPTTokenizer, OpenAIGPTTokenizerFast
from minitransformers.tokenization.families.roberta import (
    BartTokenizer,
    BartTokenizerFast,
    RobertaTokenizer,
    RobertaTokenizerFast,
)
from minitransformers.tokenization.families.t5 import T5Tokenizer, T5TokenizerFast
from minitransformers.tokenization.families.xlm_roberta import XLMRobertaTokenizer, XLMRobertaTokenizerFast

PreTrainedTokenizerBase = PreTrainedTokenizer
PreTrainedTokenizerFast = PreTrainedTokenizer
TokenizersBackend = PreTrainedTokenizer  # its name in transformers 5

__all__ = [
    "AddedToken",
    "AlbertTokenizer",
    "AlbertTokenizerFast",
    "AutoTokenizer",
    "BartTokenizer",
    "BartTokenizerFast",
    "BatchEncoding",
    "BertTokenizer",
    "BertTokenizerFast",
    "CharSpan",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "ElectraTokenizer",
    "ElectraTokenizerFast",
    "GPT2Tokenizer",
    "GPT2TokenizerFast",
    "GPTNeoXTokenizer",
    "GPTNeoXTokenizerFast",
    "LlamaTokenizer",
    "LlamaTokenizerFast",
    "OpenAIGPTTokenizer",
    "OpenAIGPTTokenizerFast",
    "PaddingStrategy",
    "PreTrainedTokenizer",
    "PreTrainedTokenizerBase",
    "PreTrainedTokenizerFast",
    "Qwen2Tokenizer",
    "Qwen2TokenizerFast",
    "RobertaTokenizer",
    "RobertaTokenizerFast",
    "T5Tokenizer",
    "T5TokenizerFast",
    "TensorType",
    "TokenSpan",
    "TokenizersBackend",
    "TruncationStrategy",
    "XLMRobertaTokenizer",
    "XLMRobertaTokenizerFast",
]
