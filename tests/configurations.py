"""Two configurations and the reference's of the same family, which tests of configurations are run with."""

from __future__ import annotations

import pytest
import transformers

from minitransformers.models.bert import BertConfig
from minitransformers.models.gpt2 import GPT2Config

FAMILIES = [(BertConfig, transformers.BertConfig), (GPT2Config, transformers.GPT2Config)]
family = pytest.mark.parametrize(("ours", "theirs"), FAMILIES, ids=["bert", "gpt2"])
