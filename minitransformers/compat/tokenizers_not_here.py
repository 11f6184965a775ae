"""Tokenizers that scripts name in `isinstance`, and that are not covered: nothing here is an instance of them."""

from __future__ import annotations

from typing import Any, NoReturn

from minitransformers.errors import InputError


class NotHere:
    """A class that scripts may import and compare with; making an object of it is an error."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.from_pretrained()

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Nothing is loaded.

        Raises:
            InputError: always; it says which models of several languages are covered.
        """
        raise InputError(
            f"{cls.__name__} is here for isinstance() only: mBART and M2M100 are not covered. Of the models for "
            f"several languages, XLM-RoBERTa and T5 are, with XLMRobertaTokenizer and T5Tokenizer."
        )


class MBartTokenizer(NotHere):
    """mBART's tokenizer: for `isinstance` only."""


class MBart50Tokenizer(NotHere):
    """mBART-50's tokenizer: for `isinstance` only."""


class M2M100Tokenizer(NotHere):
    """M2M100's tokenizer: for `isinstance` only."""


MBartTokenizerFast, MBart50TokenizerFast = MBartTokenizer, MBart50Tokenizer
