"""Wrong attempts are caught and their cause is named; right ones pass."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from minitransformers.testing import learning
from minitransformers.testing.learning import CheckError

CHECKS = {
    "attention": learning.check_attention,
    "masks": learning.check_masks,
    "encoder_block": learning.check_encoder_block,
    "mlm": learning.check_mlm_masking,
    "pairs": learning.check_next_sentence_pairs,
    "sampler": learning.check_sampler,
    "beams": learning.check_beam_search,
    "cache": learning.check_cache,
    "lora": learning.check_lora,
    "tokenizer": learning.check_tokenizer,
    "embeddings": learning.check_embeddings,
    "positions": learning.check_positions,
    "feed_forward": learning.check_feed_forward,
    "norm": learning.check_norm,
    "bert_embeddings": learning.check_bert_embeddings,
    "masked_lm_head": learning.check_masked_lm_head,
    "pooler": learning.check_pooler,
    "pretraining_loss": learning.check_pretraining_loss,
    "causal_block": learning.check_causal_block,
    "causal_loss": learning.check_causal_loss,
    "gpt": learning.check_gpt,
    "training_loop": learning.check_training_loop,
    "schedule": learning.check_schedule,
    "patches": learning.check_patches,
}
# The checks that are given a module; the others are given the class, or a function.
OF_MODULES = ("attention", "encoder_block", "feed_forward", "causal_block", "cache")


def check_padding(function):
    learning.check_masks(padding=function)


def check_rms_norm(make):
    learning.check_norm(make, rms=True)


SECOND_CHECKS = {
    "_PADDING": check_padding,
    "_DECODERS": learning.check_cache,
    "_RMS": check_rms_norm,
    "_EMBEDDINGS": learning.check_image_embeddings,
}


def attempts(kind):
    """(check, attempt) or (check, attempt, cause) of every file."""
    found = []
    for name, check in CHECKS.items():
        module = importlib.import_module(f"attempts.{name}")
        for suffix in ("", *SECOND_CHECKS):
            judge = SECOND_CHECKS.get(suffix, check)
            for attempt in getattr(module, kind + suffix, []):
                attempt = attempt if isinstance(attempt, tuple) else (attempt,)
                label = getattr(attempt[0], "__name__", type(attempt[0]).__name__)
                found.append(pytest.param(judge, *attempt, id=f"{name}-{label}"))
    return found


def made(attempt):
    """What a check is given: a module, or a class or function as it is."""
    torch.manual_seed(0)
    if isinstance(attempt, type) and issubclass(attempt, nn.Module) and attempt.__module__.endswith(OF_MODULES):
        return attempt()
    return attempt


@pytest.mark.parametrize(("check", "attempt", "cause"), attempts("WRONG"))
def test_wrong_attempts_are_caught_and_explained(check, attempt, cause):
    with pytest.raises(CheckError) as caught:
        check(made(attempt))
    error = caught.value
    causes = cause if isinstance(cause, tuple) else (cause,)
    assert any(one in error.cause for one in causes), str(error)
    assert ("; and " in error.cause) == ("; and " in causes[0]), str(error)
    assert error.law.endswith(".")
    assert error.counterexample
    assert error.cause in str(error)


@pytest.mark.parametrize(("check", "attempt"), attempts("RIGHT"))
def test_right_attempts_pass(check, attempt):
    check(made(attempt))
