"""Text to ids and back, with the interface of transformers on the Rust library `tokenizers`.

Read `codec.py` for what a call does, `bert.py` and `gpt2.py` for two pipelines, `files.py` for what the files say,
`chat.py` for conversations.
"""

from tokenizers import AddedToken

from minitransformers.tokenization.albert import AlbertTokenizer, AlbertTokenizerFast
from minitransformers.tokenization.auto import AutoTokenizer
from minitransformers.tokenization.bert import (
    BertTokenizer,
    BertTokenizerFast,
    DistilBertTokenizer,
    DistilBertTokenizerFast,
    ElectraTokenizer,
    ElectraTokenizerFast,
)
from minitransformers.tokenization.encoding import BatchEncoding, CharSpan, TensorType, TokenSpan
from minitransformers.tokenization.from_files import (
    GPTNeoXTokenizer,
    GPTNeoXTokenizerFast,
    LlamaTokenizer,
    LlamaTokenizerFast,
    Qwen2Tokenizer,
    Qwen2TokenizerFast,
)
from minitransformers.tokenization.gpt2 import GPT2Tokenizer, GPT2TokenizerFast
from minitransformers.tokenization.lengths import PaddingStrategy, TruncationStrategy
from minitransformers.tokenization.openai_gpt import OpenAIGPTTokenizer, OpenAIGPTTokenizerFast
from minitransformers.tokenization.roberta import (
    BartTokenizer,
    BartTokenizerFast,
    RobertaTokenizer,
    RobertaTokenizerFast,
)
from minitransformers.tokenization.t5 import T5Tokenizer, T5TokenizerFast
from minitransformers.tokenization.tokenizer import PreTrainedTokenizer
from minitransformers.tokenization.xlm_roberta import XLMRobertaTokenizer, XLMRobertaTokenizerFast

PreTrainedTokenizerBase = PreTrainedTokenizer
PreTrainedTokenizerFast = PreTrainedTokenizer

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
    "TruncationStrategy",
    "XLMRobertaTokenizer",
    "XLMRobertaTokenizerFast",
]
