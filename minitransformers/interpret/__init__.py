"""Look inside a model: every value that it computes, what depends on which, and what changes if one is replaced.

Works with every family and with a reader's own modules, without changes to them. Read `watching`, then `tracing`.
"""

from minitransformers.interpret.attribution import LogitAttribution, direct_logit_attribution
from minitransformers.interpret.gradients import gradient_times_input
from minitransformers.interpret.lens import TunedLens, logit_lens
from minitransformers.interpret.neighbors import Neighbor, nearest_tokens
from minitransformers.interpret.page import AttentionPage, attention_page
from minitransformers.interpret.patching import ablate_heads, activation_patching, patch
from minitransformers.interpret.probing import Probe, probe_layers
from minitransformers.interpret.roles import induction_scores, previous_token_scores, token_scores
from minitransformers.interpret.rollout import attention_rollout
from minitransformers.interpret.tracing import Activations, HeadActivations, trace
from minitransformers.interpret.watching import watch

__all__ = [
    "Activations",
    "AttentionPage",
    "HeadActivations",
    "LogitAttribution",
    "Neighbor",
    "Probe",
    "TunedLens",
    "ablate_heads",
    "activation_patching",
    "attention_page",
    "attention_rollout",
    "direct_logit_attribution",
    "gradient_times_input",
    "induction_scores",
    "logit_lens",
    "nearest_tokens",
    "patch",
    "previous_token_scores",
    "probe_layers",
    "token_scores",
    "trace",
    "watch",
]
