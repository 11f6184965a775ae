"""From a language model to an assistant: instructions, preferences, and rewards that a program computes.

Four loops, each a page and a generator that trains one step at a time, as its paper says:

- supervised.py: learn the answers of conversations, and not the questions;
- reward_model.py: learn a score from pairs of answers of which people prefer one;
- direct_preference.py (DPO): learn from such pairs without a score between;
- group_policy.py (GRPO): sample answers, and make those likelier that have more reward than others to
  the same question.

    for step in dpo(model, batches, optimizer):
        print(step["loss"], step["margin"])

conversations.py makes ids and labels of conversations; likelihood.py computes how likely a model finds an answer.
"""

from minitransformers.alignment.conversations import PairCollator, encode_answer, encode_conversation
from minitransformers.alignment.direct_preference import dpo, dpo_loss
from minitransformers.alignment.group_policy import group_advantages, grpo, grpo_loss
from minitransformers.alignment.likelihood import answer_log_probabilities, token_log_probabilities
from minitransformers.alignment.reward_model import pairwise_loss, train_reward_model
from minitransformers.alignment.supervised import answer_loss, fine_tune

__all__ = [
    "PairCollator",
    "answer_log_probabilities",
    "answer_loss",
    "dpo",
    "dpo_loss",
    "encode_answer",
    "encode_conversation",
    "fine_tune",
    "group_advantages",
    "grpo",
    "grpo_loss",
    "pairwise_loss",
    "token_log_probabilities",
    "train_reward_model",
]
