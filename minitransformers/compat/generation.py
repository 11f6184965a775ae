"""Options of the reference's `GenerationConfig`, and arguments of its `generate`, that are not here."""

from __future__ import annotations

from minitransformers.compat.forward import IGNORED_ARGUMENTS
from minitransformers.compat.keywords import Accepted

_ALWAYS = Accepted()  # they choose how a result is computed, not which
_NO_MORE = "transformers has it no more; use num_beams or do_sample"

OPTIONS: dict[str, Accepted] = {
    "cache_config": _ALWAYS,
    "disable_compile": _ALWAYS,
    "continuous_batching_config": _ALWAYS,
    "low_memory": _ALWAYS,
    "transformers_version": _ALWAYS,
    "prefill_chunk_size": _ALWAYS,
    "is_assistant": _ALWAYS,
    "assistant_lookbehind": _ALWAYS,  # read where the assistant has another tokenizer, which is refused
    "target_lookbehind": _ALWAYS,
    "assistant_ensemble_weight": Accepted((), "leave it out: the result is then the model's own"),
    "speculation_type": Accepted((), "pass assistant_model or prompt_lookup_num_tokens"),
    "use_mtp": Accepted((False,), "pass assistant_model or prompt_lookup_num_tokens"),
    "token_healing": Accepted((False,), "leave out the last token of the prompt"),
    "constraints": Accepted((), "write a prefix_allowed_tokens_fn"),
    "force_words_ids": Accepted((), "write a prefix_allowed_tokens_fn, or raise words with sequence_bias"),
    "diversity_penalty": Accepted((0,), _NO_MORE),
    "num_beam_groups": Accepted((1,), _NO_MORE),
    "penalty_alpha": Accepted((0,), _NO_MORE),
    "dola_layers": Accepted((), _NO_MORE),
}

# Arguments of `generate` that are accepted where they are None.
ARGUMENTS: dict[str, Accepted] = {
    "custom_generate": Accepted((), "iterate over generate_steps"),
    "assistant_tokenizer": Accepted((), "take an assistant_model with the tokenizer of the model"),
    "trust_remote_code": _ALWAYS,  # a repository's code is never run
    "return_dict": Accepted((True,), "pass return_dict_in_generate"),
    "use_model_defaults": Accepted((True,), "pass a generation_config with every setting"),
}

# Entries of batches that tokenizers and collators make, and arguments of `forward`, that `generate` does not read.
BATCH_FIELDS = IGNORED_ARGUMENTS | {
    "labels",
    "mc_labels",
    "mc_token_ids",
    "num_items_in_batch",
    "logits_to_keep",  # of each step, the latest logits are needed, whatever the number
}

# Inputs of some models, which calls of others may set to None.
MODEL_INPUTS = frozenset(
    {
        *("attention_mask", "position_ids", "inputs_embeds", "past_key_values", "head_mask"),
        *("encoder_hidden_states", "encoder_attention_mask", "encoder_outputs", "decoder_input_ids"),
        *("decoder_attention_mask", "decoder_inputs_embeds", "decoder_head_mask", "cross_attn_head_mask"),
    }
)
