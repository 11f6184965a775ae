"""Example prompts, one of each kind, for the page's menu and the terminal's /template."""

from __future__ import annotations

from minitransformers.tokenization.chat.prompt_templates import chain_of_thought, few_shot, role, zero_shot

EXAMPLES = {
    "zero-shot": zero_shot("The tea is cold again.", "Is this friendly or unfriendly?", labels=("Sentence", "Answer")),
    "few-shot": few_shot(
        "Winter",
        [("Day", "Night"), ("Hot", "Cold"), ("Friend", "Enemy")],
        "The opposite of each word.",
        labels=("Word", "Opposite"),
    ),
    "chain-of-thought": chain_of_thought(
        "A farmer has 3 baskets of 6 apples and sells 5. How many are left?",
        [
            (
                "Anna has 5 coins and finds 2 bags of 3 coins. How many has she?",
                "She starts with 5. Two bags of 3 are 6 more. 5 + 6 = 11.",
                "11",
            )
        ],
    ),
    "step-by-step": chain_of_thought("A farmer has 3 baskets of 6 apples and sells 5. How many are left?"),
    "role": role("a gardener with much patience", "Why do my tomatoes crack?"),
}
