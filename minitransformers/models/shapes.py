"""The published sizes of GPT, GPT-2 and GPT-3, to build from, and how many parameters they have.

    config = SHAPES["GPT-3 2.7B"].config()
    model = GPT2LMHeadModel(config)

`print_table()`, or `python -m minitransformers shapes`, builds each on the meta device, which holds no numbers, counts,
and sets the count beside what the paper says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.models.gpt2 import GPT2Config, GPT2LMHeadModel
from minitransformers.models.openai_gpt import OpenAIGPTConfig, OpenAIGPTLMHeadModel

GPT1_SOURCE = "Radford et al., 2018"
GPT2_SOURCE = "Radford et al., 2019, table 2"
GPT3_SOURCE = "Brown et al., 2020, table 2.1"

_CONFIGS: dict[str, Callable[..., OpenAIGPTConfig | GPT2Config]] = {
    GPT1_SOURCE: OpenAIGPTConfig,
    GPT2_SOURCE: GPT2Config,
    GPT3_SOURCE: GPT2Config,
}


@dataclass(frozen=True)
class Shape:
    """One published size.

    Attributes:
        layers, hidden_size, heads: of the model.
        positions: the longest text.
        printed: the number of parameters that the paper prints, as it prints it; None where it prints none.
        source: the paper.
    """

    layers: int
    hidden_size: int
    heads: int
    positions: int
    printed: str | None
    source: str

    def config(self) -> OpenAIGPTConfig | GPT2Config:
        """A configuration to build the model from; fields may be assigned before."""
        family = _CONFIGS[self.source]
        return family(n_layer=self.layers, n_embd=self.hidden_size, n_head=self.heads, n_positions=self.positions)

    def model_on_meta(self) -> PreTrainedModel:
        """The language model without numbers: its names, shapes and count, at no cost."""
        with torch.device("meta"):
            config = self.config()
            return OpenAIGPTLMHeadModel(config) if isinstance(config, OpenAIGPTConfig) else GPT2LMHeadModel(config)

    @property
    def count(self) -> int:
        """The number of parameters, the embedding that is also the output layer counted once."""
        return self.model_on_meta().num_parameters()


SHAPES = {
    "openai-gpt": Shape(12, 768, 12, 512, None, GPT1_SOURCE),
    "gpt2": Shape(12, 768, 12, 1024, "117M", GPT2_SOURCE),
    "gpt2-medium": Shape(24, 1024, 16, 1024, "345M", GPT2_SOURCE),
    "gpt2-large": Shape(36, 1280, 20, 1024, "762M", GPT2_SOURCE),
    "gpt2-xl": Shape(48, 1600, 25, 1024, "1542M", GPT2_SOURCE),
    "GPT-3 Small": Shape(12, 768, 12, 2048, "125M", GPT3_SOURCE),
    "GPT-3 Medium": Shape(24, 1024, 16, 2048, "350M", GPT3_SOURCE),
    "GPT-3 Large": Shape(24, 1536, 16, 2048, "760M", GPT3_SOURCE),
    "GPT-3 XL": Shape(24, 2048, 16, 2048, "1.3B", GPT3_SOURCE),
    "GPT-3 2.7B": Shape(32, 2560, 32, 2048, "2.7B", GPT3_SOURCE),
    "GPT-3 6.7B": Shape(32, 4096, 32, 2048, "6.7B", GPT3_SOURCE),
    "GPT-3 13B": Shape(40, 5120, 40, 2048, "13.0B", GPT3_SOURCE),
    "GPT-3 175B": Shape(96, 12288, 96, 2048, "175.0B", GPT3_SOURCE),
}

NOTES = """\
Where papers and counts differ:

GPT prints no number.

GPT-2 prints 117M, 345M, 762M and 1542M. The released weights have what is counted here, with a vocabulary of 50,257
tokens. With the first GPT's 40,478 the same shapes come to 116.9M, 344.8M, 761.5M and 1542.0M: the printed numbers.

GPT-3 rounds. Two rows can't be built as printed. XL has 24 heads of width 128, which do not add up to its width of
2048 (and would make it 1.5B); 16 do. 13B has a width of 5140, which 40 heads do not divide (12.95B parameters); the
nearest that they do is 5120. Its layers alternate between dense and locally banded sparse attention, which restricts
who attends to whom and has no parameters: the models here have dense attention in every layer.
"""


def print_table() -> None:
    """Print every shape with its count beside the paper's, and why they differ."""
    print(f"{'':<14}{'layers':>7}{'width':>7}{'heads':>6}{'tokens':>7}{'parameters':>17}{'paper':>9}")
    for name, shape in SHAPES.items():
        sizes = f"{shape.layers:>7}{shape.hidden_size:>7}{shape.heads:>6}{shape.positions:>7}"
        print(f"{name:<14}{sizes}{shape.count:>17,}{shape.printed or '':>9}")
    print(f"\n{NOTES}", end="")
