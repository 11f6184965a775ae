"""The three algorithms behind all tokenizers, in plain Python, to be read; the tokenizers themselves run in Rust.

`WordPiece` (BERT), `ByteLevelBPE` (GPT-2) and `Unigram` (T5): each learns a vocabulary, encodes and decodes, and gives
the ids that the tokenizers of the same name give.
"""

from minitransformers.tokenization.algorithms.byte_level_bpe import ByteLevelBPE
from minitransformers.tokenization.algorithms.unigram import Unigram
from minitransformers.tokenization.algorithms.unigram_training import train_unigram
from minitransformers.tokenization.algorithms.wordpiece import WordPiece

__all__ = ["ByteLevelBPE", "Unigram", "WordPiece", "train_unigram"]
