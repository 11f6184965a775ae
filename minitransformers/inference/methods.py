"""The fast paths as methods of a model, a base of `PreTrainedModel`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from torch import nn

from minitransformers.generation.config import GenerationConfig
from minitransformers.inference import batching, decoding, optimize
from minitransformers.nn.cache import Cache

ModelType = TypeVar("ModelType", bound="FastPaths")


class FastPaths(nn.Module):
    """`optimize`, its inverse, and `generate_batch`.

    Attributes:
        is_optimized: whether `optimize` was called, and not `undo_optimize` since.
    """

    is_optimized: bool = False

    def optimize(self: ModelType, weights: str = "float32", *, unpadded: bool = True) -> ModelType:
        """Make the model faster on a CPU where no gradient is wanted; return it.

            model = BertModel.from_pretrained(name).optimize()
            with torch.inference_mode():
                model(**batch)

        Linear layers keep a second copy of their weight in an order that is read faster (`FastLinear`). The stacks of
        encoders compute no padding: BERT, RoBERTa, XLM-RoBERTa, ELECTRA, ALBERT and DistilBERT then return zeros at
        padding, where they otherwise return vectors without a meaning; models for question answering, which compare all
        positions, compute padding as before. GPT-2, Llama, Mistral and Qwen2 generate with a shorter step for each
        token (decoding.py). Results are those of the model as it was, to rounding.

        `train` and `Trainer` leave out padding as well, though dropout then draws other random numbers than it does for
        a padded batch. Names, `state_dict`, `.to`, copies and pickles are as before; when a weight changes, its copy is
        made again. Small layers, and those of other classes than `nn.Linear`, stay as they are.

        Args:
            weights: "float32", or "int8": linear layers multiply in 8-bit integers (`Int8Linear`), two to four times as
                fast with few rows. The logits of the GPT in examples/checkpoints change by 3 % of their size, which is
                a KL divergence of 0.005 for each token, and raises the perplexity by 0.5 %.
            unpadded: whether encoders leave out padding.

        Raises:
            InputError: another value of `weights`.

        Warns where the linear layers cannot be made faster: on another device, or with another type of weights.
        """
        optimize.optimize(self, weights, unpadded=unpadded)
        self.is_optimized = True
        return self

    def undo_optimize(self: ModelType) -> ModelType:
        """Take out what `optimize` has put in, and free its copies; return the model."""
        optimize.undo_optimize(self)
        self.is_optimized = False
        return self

    def decode_step(self, cache: Cache | None, longest: int) -> decoding.Step | None:
        """The step that `generate` takes in place of `forward`; None where `forward` is needed. See decoding.py."""
        return decoding.decode_step(self, cache, longest)

    def generate_batch(
        self,
        inputs: Sequence[Sequence[int]],
        generation_config: GenerationConfig | None = None,
        continuous_batching_config: Any = None,
        record_timestamps: bool = False,
        progress_bar: bool = False,
        persistent_manager: bool = False,
        warmup: bool = True,
        *,
        max_texts: int = 64,
        **kwargs: Any,
    ) -> dict[str, batching.GenerationOutput]:
        """Continue many prompts of different lengths at the same time, without padding (Yu et al., 2022, §4).

            outputs = model.generate_batch([[5, 8, 2], [7]], max_new_tokens=20)
            outputs["req_0"].generated_tokens

        Each text is what `generate` gives for its prompt alone. A step computes one token of every unfinished text, and
        the whole prompt of those that join: in the place of a text that is finished, the next prompt begins.

        Models whose attention needs more than a row of texts (windows, relative positions, encoder–decoders) continue
        the prompts one after the other.

        Args:
            inputs: the ids of each prompt.
            generation_config: settings, as for `generate`.
            continuous_batching_config: None; the batch is limited by `max_texts`.
            record_timestamps, progress_bar: False.
            persistent_manager, warmup: have no effect: nothing is kept between calls.
            max_texts: the most texts in a step.
            kwargs: settings, as for `generate`; `max_new_tokens` may be a list with a number for each prompt. Beam
                search, assisted decoding and several sequences for a prompt are refused.

        Returns:
            For each prompt, "req_0", "req_1", …: `prompt_ids`, and the `generated_tokens`.

        Raises:
            InputError: prompts that are not lists of ids, a setting that needs `generate`, or what `generate` refuses.
        """
        batching.refuse_what_is_not_here(continuous_batching_config, record_timestamps, progress_bar)
        return batching.generate_batch(self, inputs, generation_config, max_texts=max_texts, **kwargs)
