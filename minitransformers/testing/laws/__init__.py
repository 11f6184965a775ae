"""What every transformer must obey, as functions that fail where a module does not: for models here, and for your own.

    from minitransformers.testing.laws import assert_causal
    assert_causal(my_decoder, input_ids, position=3)

A *model* is anything that is called with `input_ids=…` (and, where a law says so, `attention_mask`, `position_ids`,
`past_key_values`) and gives a tensor, or an output, mapping or sequence of tensors. The batch is dimension 0 of each.
The laws of decoders are laws of an encoder–decoder's target: see `TargetSide`.
Dropout must be off: a law compares two passes. Rounding is allowed for as `assert_close` says, so float64 is the dtype
in which the laws are sharp. They run in the caller's grad mode.

One file for each kind of law: who_sees_what.py, cache.py, kernels.py, weights.py; outputs.py has what they share.
"""

from minitransformers.testing.laws.cache import (
    assert_cache_consistent,
    assert_cache_crops,
    assert_cache_differentiable,
    assert_cache_reorders,
    run_in_chunks,
)
from minitransformers.testing.laws.kernels import (
    assert_implementations_agree,
    assert_kernels_agree,
)
from minitransformers.testing.laws.outputs import (
    Model,
    TargetSide,
)
from minitransformers.testing.laws.weights import (
    assert_names_bijective,
    assert_same_weights,
    assert_saved_and_loaded_equal,
    assert_tied,
    assert_unused_parameters_do_not_matter,
    sharing,
)
from minitransformers.testing.laws.who_sees_what import (
    assert_causal,
    assert_padding_invariant,
    assert_permutation_equivariant,
    assert_rows_independent,
    pad_batch,
)

__all__ = [
    "Model",
    "TargetSide",
    "assert_cache_consistent",
    "assert_cache_crops",
    "assert_cache_differentiable",
    "assert_cache_reorders",
    "assert_causal",
    "assert_implementations_agree",
    "assert_kernels_agree",
    "assert_names_bijective",
    "assert_padding_invariant",
    "assert_permutation_equivariant",
    "assert_rows_independent",
    "assert_same_weights",
    "assert_saved_and_loaded_equal",
    "assert_tied",
    "assert_unused_parameters_do_not_matter",
    "pad_batch",
    "run_in_chunks",
    "sharing",
]
