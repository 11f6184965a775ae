"""Prompts: the same questions in different words, and how much each form helps a small model.

    python examples/15_prompts.py

What it does and prints: it asks the chat model of examples/checkpoints questions that it can answer, in eight forms
(the question alone, zero-shot, few-shot, as in training, with an instruction, in a role, step by step), and counts
right answers. The model is small and was trained on one form: what prompts do for large models is not seen here.

A run, 43 seconds of one core's time:

    right answers               capitals  colors   kinds  larger number
    the question alone                0%      0%      0%             0%
    zero-shot, Q and A               72%     92%     90%            90%
    few-shot, Q and A                 5%     22%     45%            30%
    zero-shot, as in training        82%     92%    100%           100%
    few-shot, as earlier turns       18%     28%     70%            18%
    with an instruction              50%     52%     20%            75%
    in a role                        62%     80%     88%            92%
    step by step                      0%      0%      0%             0%

Each departure from the form of training costs right answers. Examples cost most: the model takes its answer from them
("The capital of Spain is Rome."). Asked for the capital of France by the question alone, or step by step, it writes
nothing: the text ends at once, as messages do in training.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from conversations import tasks

from minitransformers import AutoModelForCausalLM, AutoTokenizer
from minitransformers.tokenization.chat.prompt_templates import (
    chain_of_thought,
    few_shot,
    plain_chat,
    role,
    zero_shot,
)

CHAT = Path(__file__).parent / "checkpoints" / "chat"
TASKS = ("capitals", "colors", "kinds", "larger number")
Pair = tuple[str, str]
LABELS = ("User", "Assistant")


def main() -> None:
    options = parse()
    model = AutoModelForCausalLM.from_pretrained(options.model)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    draw, figures = random.Random(options.seed), {}
    by_task = {name: [(turns[0], turns[1]) for turns, _ in tasks()[name]] for name in TASKS}
    print(f"{'right answers':<34} " + " ".join(f"{name:>14}" for name in TASKS))
    for name, make in FORMS.items():
        shares = []
        for examples in by_task.values():
            asked = random.Random(options.seed).sample(examples, options.count)
            shown = [draw.sample([each for each in examples if each[0] != question], 2) for question, _ in asked]
            right = [
                is_right(model, tokenizer, make(q, some), reply) for (q, reply), some in zip(asked, shown, strict=True)
            ]
            shares.append(sum(right) / len(right))
        figures[name] = dict(zip(TASKS, shares, strict=True))
        print(f"{name:<34} " + " ".join(f"{share:>14.0%}" for share in shares), flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    draw_figures(figures, options.output / "prompts.png")


def chat_with_examples(question: str, shown: list[Pair]) -> str:
    turns = [turn for pair in shown for turn in pair] + [question]
    return plain_chat([{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)])


# A prompt of a question and two solved examples.
FORMS: dict[str, Callable[[str, list[Pair]], str]] = {
    "the question alone": lambda question, shown: question,
    "zero-shot, Q and A": lambda question, shown: zero_shot(question),
    "few-shot, Q and A": lambda question, shown: few_shot(question, shown),
    "zero-shot, as in training": lambda question, shown: plain_chat([{"role": "user", "content": question}]),
    "few-shot, as earlier turns": chat_with_examples,
    "with an instruction": lambda question, shown: zero_shot(question, "Answer the question.", labels=LABELS),
    "in a role": lambda question, shown: role("a teacher who knows everything", question),
    "step by step": lambda question, shown: chain_of_thought(question, labels=LABELS),
}


@torch.no_grad()
def is_right(model: Any, tokenizer: Any, prompt: str, reply: str) -> bool:
    """Whether the last word of the reply, which is the answer, is in what the model writes first."""
    inputs = tokenizer(prompt, return_tensors="pt")
    ids = model.generate(**inputs, do_sample=False, max_new_tokens=20, pad_token_id=0)
    written = tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    answer = reply.split()[0] if "larger" in reply else reply.rstrip(".").split()[-1]
    return answer in written.strip().split("\n")[0].replace(".", " ").split()


def draw_figures(figures: dict[str, dict[str, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(figures), [sum(shares.values()) / len(shares) for shares in figures.values()])
    axes.invert_yaxis()
    axes.set_xlabel("right answers, mean of the tasks")
    figure.savefig(path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=CHAT, help="a causal language model (the small chat model)")
    parser.add_argument("--count", type=int, default=40, help="questions of each task (40)")
    parser.add_argument("--seed", type=int, default=0, help="of questions and examples (0)")
    parser.add_argument("--output", type=Path, default=Path("out/prompts"), help="where all goes (out/prompts)")
    parser.add_argument("--tiny", action="store_true", help="one question of each task, to try the script out")
    options = parser.parse_args()
    if options.tiny:
        options.count = 1
    return options


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped. The next start begins again; downloads are kept.")
        sys.exit(130)
