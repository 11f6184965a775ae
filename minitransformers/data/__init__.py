"""From texts to batches: corpora and vocabularies, masking, pairs, spans, packing, collators and samplers."""

from minitransformers.data.collators import (
    DataCollator,
    DataCollatorForMultipleChoice,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithFlattening,
    DataCollatorWithPadding,
    DefaultDataCollator,
    default_data_collator,
)
from minitransformers.data.corpus import TokenCorpus
from minitransformers.data.corpus_views import CorpusPart, CorpusSplit, Documents, TokenBlocks, TokenSequence
from minitransformers.data.deduplication import ExactDuplicates, NearDuplicates, normalized_text
from minitransformers.data.drawn_pairs import DrawnPairs
from minitransformers.data.epoch_sampler import EpochBatchSampler
from minitransformers.data.filters import FilteredTexts, FilterReport, TextFilter
from minitransformers.data.fim import (
    DataCollatorForFillInTheMiddle,
    fill_in_the_middle,
    restore_middle,
)
from minitransformers.data.language_modeling import (
    DataCollatorForLanguageModeling,
    MaskedDataset,
    replace_tokens,
    select_tokens,
    words_from_offsets,
)
from minitransformers.data.languages import LanguageGuesser, OnlyLanguages
from minitransformers.data.length_warmup import GrowingBlocks, LengthWarmupBatchSampler
from minitransformers.data.mixtures import MixtureBatchSampler, mixture_shares
from minitransformers.data.ngrams import KneserNey
from minitransformers.data.packing import (
    PackedDataset,
    PackedDocuments,
    concatenate_documents,
    restarting_positions,
)
from minitransformers.data.pairs import (
    SentencePair,
    SentencePairDataset,
    next_sentence_pairs,
    sentence_ids,
    sentence_order_pairs,
)
from minitransformers.data.plans import Plan, padding_waste
from minitransformers.data.prefix_lm import DataCollatorForPrefixLM
from minitransformers.data.quality import C4Rules, GopherRules, RepetitionRules, c4_lines
from minitransformers.data.samplers import (
    DistributedBatchSampler,
    LengthBucketBatchSampler,
    ShuffledBatchSampler,
    TokenBudgetBatchSampler,
    WeightedBatchSampler,
)
from minitransformers.data.seeded import (
    Seeded,
)
from minitransformers.data.shards import ShardHeader, TokenShard, id_type, write_shard
from minitransformers.data.spans import (
    CorruptedSpans,
    DataCollatorForSpanCorruption,
    DataCollatorForTextInfilling,
    Infilled,
    corrupt_spans,
    draw_spans,
    infill_text,
    permute_sentences,
    restore_infilled,
    restore_spans,
    sentinel_token_ids,
)
from minitransformers.data.texts import TextFiles, documents_of
from minitransformers.data.tokenizing import tokenize_corpus
from minitransformers.data.vocabulary import train_byte_level_bpe, train_wordpiece

__all__ = [
    "C4Rules",
    "CorpusPart",
    "CorpusSplit",
    "CorruptedSpans",
    "DataCollator",
    "DataCollatorForFillInTheMiddle",
    "DataCollatorForLanguageModeling",
    "DataCollatorForMultipleChoice",
    "DataCollatorForPrefixLM",
    "DataCollatorForSeq2Seq",
    "DataCollatorForSpanCorruption",
    "DataCollatorForTextInfilling",
    "DataCollatorForTokenClassification",
    "DataCollatorWithFlattening",
    "DataCollatorWithPadding",
    "DefaultDataCollator",
    "DistributedBatchSampler",
    "Documents",
    "DrawnPairs",
    "EpochBatchSampler",
    "ExactDuplicates",
    "FilterReport",
    "FilteredTexts",
    "GopherRules",
    "GrowingBlocks",
    "Infilled",
    "KneserNey",
    "LanguageGuesser",
    "LengthBucketBatchSampler",
    "LengthWarmupBatchSampler",
    "MaskedDataset",
    "MixtureBatchSampler",
    "NearDuplicates",
    "OnlyLanguages",
    "PackedDataset",
    "PackedDocuments",
    "Plan",
    "RepetitionRules",
    "Seeded",
    "SentencePair",
    "SentencePairDataset",
    "ShardHeader",
    "ShuffledBatchSampler",
    "TextFiles",
    "TextFilter",
    "TokenBlocks",
    "TokenBudgetBatchSampler",
    "TokenCorpus",
    "TokenSequence",
    "TokenShard",
    "WeightedBatchSampler",
    "c4_lines",
    "concatenate_documents",
    "corrupt_spans",
    "default_data_collator",
    "documents_of",
    "draw_spans",
    "fill_in_the_middle",
    "id_type",
    "infill_text",
    "mixture_shares",
    "next_sentence_pairs",
    "normalized_text",
    "padding_waste",
    "permute_sentences",
    "replace_tokens",
    "restarting_positions",
    "restore_infilled",
    "restore_middle",
    "restore_spans",
    "select_tokens",
    "sentence_ids",
    "sentence_order_pairs",
    "sentinel_token_ids",
    "tokenize_corpus",
    "train_byte_level_bpe",
    "train_wordpiece",
    "words_from_offsets",
    "write_shard",
]
