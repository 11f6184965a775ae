"""From texts to batches: vocabularies, corpora of tokens on disk, and which examples go together."""

from minitransformers.data.samplers import (
    DistributedBatchSampler,
    EpochBatchSampler,
    LengthBucketBatchSampler,
    Plan,
    ShuffledBatchSampler,
    TokenBudgetBatchSampler,
    WeightedBatchSampler,
    padding_waste,
)

__all__ = [
    "DistributedBatchSampler",
    "EpochBatchSampler",
    "LengthBucketBatchSampler",
    "Plan",
    "ShuffledBatchSampler",
    "TokenBudgetBatchSampler",
    "WeightedBatchSampler",
    "padding_waste",
]
