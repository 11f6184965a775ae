"""Arguments of the reference's tokenizers that have no effect in it, nor here."""

from __future__ import annotations

from minitransformers.compat.keywords import Accepted

_ALWAYS = Accepted()
_PADDING = Accepted((False,), "pass padding='max_length'", is_ignored=True)
_PREFIX = Accepted((False,), "put a space before the text", is_ignored=True)
_NEVER_SPLIT = Accepted(([], ()), "use add_tokens, whose tokens are never split", is_ignored=True)

# Of constructors and `from_pretrained`; kept, and saved in tokenizer_config.json.
SETTINGS: dict[str, Accepted] = {
    "legacy": _ALWAYS,  # the file with the vocabulary decides
    "clean_text": Accepted((True,), "the normalizer decides, and BERT's cleans", is_ignored=True),
    "do_basic_tokenize": Accepted((True,), "BERT's tokenizers split at white space and punctuation", is_ignored=True),
    "never_split": _NEVER_SPLIT,
    "spaces_between_special_tokens": _ALWAYS,
    "add_prefix_space": _PREFIX,  # in families whose tokens have no spaces
    "use_default_system_prompt": Accepted((False,), "pass a message with the role 'system'", is_ignored=True),
    "sp_model_kwargs": Accepted(({},), "the file with the vocabulary decides", is_ignored=True),
}

# Of calls, `encode` and `tokenize`.
CALL: dict[str, Accepted] = {
    "pad_to_max_length": _PADDING,
    "add_prefix_space": _PREFIX,
    "never_split": _NEVER_SPLIT,
    "legacy": _ALWAYS,
    "clean_text": SETTINGS["clean_text"],
    "do_basic_tokenize": SETTINGS["do_basic_tokenize"],
    "spaces_between_special_tokens": _ALWAYS,
}

# Of `decode` and `batch_decode`.
DECODE: dict[str, Accepted] = {
    "spaces_between_special_tokens": _ALWAYS,  # the decoder of the tokenizer decides
    "use_source_tokenizer": _ALWAYS,
}
