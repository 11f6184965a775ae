"""What holds for generation where nobody says anything, and what files may ask for in vain."""

from __future__ import annotations

from typing import Any

# What holds where nobody says anything. Without max_length and max_new_tokens, 20 tokens are generated.
DEFAULTS: dict[str, Any] = {
    "min_length": 0,
    "do_sample": False,
    "num_beams": 1,
    "early_stopping": False,
    "length_penalty": 1.0,
    "use_cache": True,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "num_return_sequences": 1,
    "return_dict_in_generate": False,
    "output_scores": False,
    "remove_invalid_values": False,
}

# Keys of files that are not covered here and would change the result, with the values that do not.
NOT_COVERED: dict[str, list[Any]] = {
    "assistant_ensemble_weight": [],
    "constraints": [],
    "diversity_penalty": [0],
    "dola_layers": [],
    "force_words_ids": [],
    "guidance_scale": [1],
    "num_beam_groups": [1],
    "penalty_alpha": [0],
    "token_healing": [False],
    "watermarking_config": [],
}
