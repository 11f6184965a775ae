"""Arguments that models ignore, because tokenizers and collators put them into a batch."""

IGNORED_ARGUMENTS = frozenset(
    {
        "special_tokens_mask",
        "offset_mapping",
        "length",
        "overflow_to_sample_mapping",
        "token_type_ids",  # in families without segments
        "cache_position",  # of transformers 4: positions follow from the cache
    }
)
