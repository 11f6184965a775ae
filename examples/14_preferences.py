"""From instructions to preferences: supervised fine-tuning, a reward model, and DPO, on the small chat model.

    pip install -e '.[examples]' && python examples/14_preferences.py

What it does and prints:
  1. pairs of replies to the chat model's questions: the right answer with a polite sentence, which is preferred, and
     the right answer alone. Questions are held out;
  2. supervised fine-tuning on both kinds, after which the model writes either;
  3. a reward model from the pairs, and the share of held-out pairs that it ranks right;
  4. DPO from the pairs: how much more likely preferred replies become than the others, on held-out questions; how often
     sampled replies are polite, whether they are still right, and their mean reward.

A run with the seed 0, 100 seconds of one core's time, on 190 held-out questions:

                          polite   right  reward
    before                    0%     45%
    fine-tuned               17%     60%   -0.91
    DPO                      94%     40%    4.59

The reward model ranks all held-out pairs right: a polite sentence is easy to see. DPO's margin on held-out pairs is
21.8 nats. It teaches what the pairs prefer, politeness, and not what both of their replies have: fewer answers are
right than after fine-tuning.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from conversations import tasks

from minitransformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
)
from minitransformers.alignment import (
    PairCollator,
    answer_log_probabilities,
    dpo,
    encode_answer,
    fine_tune,
    train_reward_model,
)
from minitransformers.tokenization.chat.prompt_templates import plain_chat

CHAT = Path(__file__).parent / "checkpoints" / "chat"
POLITE = ("I am glad to help!", "Please ask me more.", "It is a pleasure to answer.")
Example = tuple[str, str, str]  # a question, the reply that is preferred, and the other one


def main() -> None:
    options = parse()
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    learnt, held_out = make_pairs()
    print(f"{len(learnt):,} pairs of replies to learn from, {len(held_out)} held out: the preferred reply is polite.")
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    tokenizer.pad_token = tokenizer.eos_token
    steps = 2 if options.tiny else options.steps
    figures: dict[str, Any] = {}

    model = AutoModelForCausalLM.from_pretrained(options.model)
    figures["before"] = behaviour(model, tokenizer, held_out, options)
    # 1. Both kinds of reply are learnt, so that the model writes either.
    rows = [encode(tokenizer, q, reply) for q, polite, curt in learnt for reply in (polite, curt)]
    collator = DataCollatorForSeq2Seq(tokenizer, padding=True)
    batches = (dict(collator(random.sample(rows, 16))) for _ in range(steps))
    follow("fine-tuning", fine_tune(model, batches, torch.optim.AdamW(model.parameters(), lr=5e-4)), "loss")
    figures["fine-tuned"] = behaviour(model, tokenizer, held_out, options)

    # 2. A reward model: the same GPT with a head of one number.
    model.save_pretrained(options.output / "fine-tuned")
    reward = AutoModelForSequenceClassification.from_pretrained(
        options.output / "fine-tuned", num_labels=1, pad_token_id=tokenizer.pad_token_id
    )
    follow(
        "reward model",
        train_reward_model(reward, pairs(tokenizer, learnt, steps), torch.optim.AdamW(reward.parameters(), lr=3e-4)),
        "accuracy",
    )
    figures["reward"] = {"held-out pairs in the right order": rank(reward, tokenizer, held_out)}
    print(f"reward model: {figures['reward']['held-out pairs in the right order']:.1%} of held-out pairs ranked right")

    # 3. DPO: without the reward model, from the pairs alone.
    before = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    follow("DPO", dpo(model, pairs(tokenizer, learnt, steps), optimizer, beta=0.1), "margin")
    figures["DPO"] = behaviour(model, tokenizer, held_out, options)
    figures["DPO"]["margin"] = margin(model, before, tokenizer, held_out)
    figures["DPO"]["reward"] = reward_of_replies(reward, model, tokenizer, held_out, options)
    figures["fine-tuned"]["reward"] = reward_of_replies(reward, before, tokenizer, held_out, options)
    report(figures, options.output)
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)


def make_pairs() -> tuple[list[Example], list[Example]]:
    """Questions of the chat model's tasks: the right answer with a polite sentence, and the right answer alone."""
    learnt: list[Example] = []
    held_out: list[Example] = []
    for name in ("capitals", "colors", "kinds", "opposites", "larger number"):
        for (question, reply), is_held_out in tasks()[name]:
            polite = f"{reply} {POLITE[len(question) % len(POLITE)]}"
            (held_out if is_held_out else learnt).append((question, polite, reply))
    return learnt, held_out


def encode(tokenizer: Any, question: str, reply: str) -> dict[str, list[int]]:
    return encode_answer(tokenizer, plain_chat([{"role": "user", "content": question}]), f" {reply}", max_length=128)


def as_batch(tokenizer: Any, examples: list[Example]) -> dict[str, torch.Tensor]:
    rows = [{"chosen": encode(tokenizer, q, a), "rejected": encode(tokenizer, q, b)} for q, a, b in examples]
    return PairCollator(tokenizer.pad_token_id)(rows)


def pairs(tokenizer: Any, examples: list[Example], steps: int) -> Iterable[dict[str, torch.Tensor]]:
    return (as_batch(tokenizer, random.sample(examples, min(8, len(examples)))) for _ in range(steps))


def follow(name: str, steps: Iterable[dict[str, float]], measure: str) -> None:
    seen = [step[measure] for step in steps]
    part = max(1, len(seen) // 5)
    print(
        f"{name}: {measure} {sum(seen[:part]) / part:.3f} at first, {sum(seen[-part:]) / part:.3f} at last", flush=True
    )


def replies(model: Any, tokenizer: Any, examples: list[Example], options: argparse.Namespace) -> list[str]:
    """One reply to each held-out question, drawn with temperature 1."""
    model.eval()
    written = []
    for question, _, _ in examples[: 2 if options.tiny else 100]:
        inputs = tokenizer(plain_chat([{"role": "user", "content": question}]), return_tensors="pt")
        ids = model.generate(**inputs, do_sample=True, top_k=0, generator=0, max_new_tokens=30, pad_token_id=0)
        written.append(tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip())
    return written


def behaviour(model: Any, tokenizer: Any, examples: list[Example], options: argparse.Namespace) -> dict[str, float]:
    """The share of replies that are polite, and of those whose answer is right, polite or not."""
    found = replies(model, tokenizer, examples, options)
    right = [text.startswith(curt) for text, (_, _, curt) in zip(found, examples, strict=False)]
    polite = [any(text.endswith(sentence) for sentence in POLITE) for text in found]
    return {"polite": sum(polite) / len(found), "right": sum(right) / len(found)}


@torch.no_grad()
def rank(reward: Any, tokenizer: Any, examples: list[Example]) -> float:
    """The share of pairs whose preferred reply has the larger reward."""
    reward.eval()
    batch = as_batch(tokenizer, examples)
    batch.pop("labels")
    chosen, rejected = reward(**batch).logits.squeeze(-1).chunk(2)
    return float((chosen > rejected).double().mean())


@torch.no_grad()
def margin(model: Any, before: Any, tokenizer: Any, examples: list[Example]) -> float:
    """By how much more DPO has raised log p of preferred replies than of the others, on held-out pairs."""
    batch = as_batch(tokenizer, examples)
    change = answer_log_probabilities(model.eval(), batch) - answer_log_probabilities(before.eval(), batch)
    chosen, rejected = change.chunk(2)
    return float((chosen - rejected).mean())


@torch.no_grad()
def reward_of_replies(reward: Any, model: Any, tokenizer: Any, examples: list[Example], options: Any) -> float:
    found = replies(model, tokenizer, examples, options)
    rows = [encode(tokenizer, q, text) for text, (q, _, _) in zip(found, examples, strict=False)]
    batch = dict(DataCollatorForSeq2Seq(tokenizer, padding=True)(rows))
    batch.pop("labels")
    return float(reward(**batch).logits.mean())


def report(figures: dict[str, Any], output: Path) -> None:
    print(f"\n{'held-out questions':<20} {'polite':>7} {'right':>7} {'reward':>7}")
    for name in ("before", "fine-tuned", "DPO"):
        row = figures[name]
        print(
            f"{name:<20} {row['polite']:>7.0%} {row['right']:>7.0%} "
            + (f"{row['reward']:>7.2f}" if "reward" in row else "")
        )
    print(f"DPO's margin on held-out pairs: {figures['DPO']['margin']:.2f} nats")
    (output / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    stages = ("before", "fine-tuned", "DPO")
    for measure in ("polite", "right"):
        axes.plot(stages, [figures[stage][measure] for stage in stages], marker="o", label=measure)
    axes.set_ylim(0, 1.05)
    axes.legend()
    figure.savefig(output / "preferences.png")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", type=Path, default=CHAT, help="the chat model to start from (examples/checkpoints/chat)"
    )
    parser.add_argument("--steps", type=int, default=120, help="of each of the three trainings (120)")
    parser.add_argument("--seed", type=int, default=0, help="of pairs, order and new weights (0)")
    parser.add_argument("--output", type=Path, default=Path("out/preferences"), help="where all goes (out/preferences)")
    parser.add_argument("--tiny", action="store_true", help="two steps of each training, to try the script out")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped. The next start begins again; downloads are kept.")
        sys.exit(130)
