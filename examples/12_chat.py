"""A small chat model: from random weights to an assistant that answers, and remembers what was said.

    pip install -e '.[examples]' && python examples/12_chat.py

What it does and prints:
  1. makes conversations with right answers (capitals, opposites, colors, kinds, days, sums, larger numbers, words to
     repeat, names and favorites to remember: see conversations.py) and adds dialogues of the chatterbot corpus; about
     an eighth is held out: facts asked in other words, sums of other numbers, words that were never repeated;
  2. learns a vocabulary, and trains a GPT-2 of 4 layers of 160 from random weights. Several conversations follow each
     other, at times one inside another, so that it learns to look back; only the assistant's words are learnt;
  3. prints the share of exactly right answers by task, learnt and held out, and the perplexity on held-out dialogues;
  4. compares samplers on held-out questions: how likely the model finds its own replies, how varied they are
     (distinct-1, distinct-2), and how much they repeat themselves;
  5. shows a chat, and saves the model, figures.json, log and picture. examples/checkpoints/chat is such a run.

A run of about 7 minutes of one core's time (see examples/checkpoints/chat/README.md) gave:

    exactly right      learnt  held out
    capitals              87%       77%
    opposites             50%       23%
    colors                77%       83%
    kinds                100%      100%
    days                  17%        0%
    sums                  73%       13%
    larger number         93%       97%
    repeat               100%       40%
    memory               100%       63%
    identity              40%         -
    perplexity of a token of the corpus' replies: 47.9 learnt, 126.5 held out

    sampler          perplexity distinct-1 distinct-2 repetition  words
    greedy                 2.66       0.26       0.37       0.04    6.3
    temperature 0.7        7.87       0.36       0.49       0.03    5.8
    top-p 0.9             28.68       0.44       0.64       0.00    3.8
    top-k 20              10.95       0.38       0.58       0.00    4.9
    beam 4                 2.17       0.17       0.26       0.16    8.5

In a chat it answers and remembers for a turn or two; after several turns it loses the thread.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from conversations import Conversation, Example, corpus, tasks

from minitransformers import (
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
    get_cosine_schedule_with_warmup,
)
from minitransformers.alignment import answer_loss, encode_answer, fine_tune
from minitransformers.data import train_byte_level_bpe
from minitransformers.generation.text_quality import distinct_n
from minitransformers.tokenization.chat.prompt_templates import encode_chat, fit_chat, plain_chat
from minitransformers.visualization import draw_losses

LENGTH = 128
SAMPLERS: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "temperature 0.7": {"do_sample": True, "temperature": 0.7, "top_k": 0},
    "top-p 0.9": {"do_sample": True, "top_p": 0.9, "top_k": 0},
    "top-k 20": {"do_sample": True, "top_k": 20},
    "beam 4": {"num_beams": 4},
}


def main() -> None:
    options = parse()
    random.seed(options.seed)
    torch.manual_seed(options.seed)

    headline("1. Conversations")
    by_task, chats = tasks(), corpus()
    everything = [example for examples in by_task.values() for example in examples] + chats
    learnt = [conversation for conversation, held_out in everything if not held_out]
    learnt += 3 * [conversation for conversation, _ in by_task["identity"]]  # of which there are few
    if options.continue_from:
        tokenizer = AutoTokenizer.from_pretrained(options.continue_from)
    else:
        tokenizer = train_byte_level_bpe([plain_chat(as_messages(chat)) for chat in learnt], vocab_size=1500)
    tokenizer.pad_token = tokenizer.eos_token
    print(f"{len(learnt):,} conversations to learn from, {len(everything) - len(learnt):,} held out, in "
          f"{len(by_task)} tasks and {len(chats):,} dialogues; a vocabulary of {len(tokenizer):,} tokens.")  # fmt: skip

    headline("2. Training")
    width, layers, heads = (32, 2, 2) if options.tiny else (160, 4, 5)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=LENGTH, n_embd=width, n_layer=layers, n_head=heads,
        bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    model = GPT2LMHeadModel.from_pretrained(options.continue_from) if options.continue_from else GPT2LMHeadModel(config)
    print(f"A GPT-2 of {model.config.n_layer} layers of {model.config.n_embd}: {model.num_parameters():,} parameters.")
    options.output.mkdir(parents=True, exist_ok=True)
    if not options.continue_from:
        train(model, tokenizer, lambda: random.choice(learnt), options.steps, 2e-3, options)
    train(model, tokenizer, lambda: mix(learnt), options.mixed_steps, 1e-3, options)
    model.generation_config.update(do_sample=False, max_new_tokens=60)
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)

    headline("3. Held-out conversations")
    figures = evaluate(model, tokenizer, by_task, chats, limit=1 if options.tiny else 30)
    headline("4. How natural it sounds, by sampler")
    figures["samplers"] = compare_samplers(model, tokenizer, chats, limit=1 if options.tiny else 30)
    headline("5. A chat")
    show_chat(model, tokenizer)

    (options.output / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    print(f"\nSaved to {options.output}. Talk to it:  python -m minitransformers chat --model {options.output}")


def as_messages(turns: Conversation) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[index % 2], "content": turn} for index, turn in enumerate(turns)]


def encode(tokenizer: GPT2Tokenizer, turns: Conversation) -> dict[str, list[int]]:
    """The ids of a chat in the form of `plain_chat`, and labels at the assistant's words.

    After each reply, the label is the end of the text, whatever comes next: at that place the model has to stop.
    """
    ids: list[int] = []
    labels: list[int] = []
    for question, answer in zip(turns[::2], turns[1::2], strict=True):
        row = encode_answer(tokenizer, plain_chat([{"role": "user", "content": question}]), f" {answer}")
        ids += [*row["input_ids"][:-1], *tokenizer("\n")["input_ids"]]
        labels += row["labels"]
    ids[-1] = tokenizer.eos_token_id
    return {"input_ids": ids[:LENGTH], "labels": labels[:LENGTH]}


def mix(learnt: list[Conversation]) -> Conversation:
    """Some conversations after each other, at times with one inside another: what was said first must be remembered."""
    turns: Conversation = []
    for _ in range(random.choice((1, 1, 2, 3))):
        chat = random.choice(learnt)
        if len(chat) > 2 and random.random() < 0.5:
            turns += [*chat[:2], *random.choice(learnt)[:2], *chat[2:]]
        else:
            turns += chat
    return turns


def train(
    model: GPT2LMHeadModel,
    tokenizer: GPT2Tokenizer,
    draw: Callable[[], Conversation],
    steps: int,
    rate: float,
    options: argparse.Namespace,
) -> None:
    """So many steps on conversations that `draw` gives; the records of the log go on from those that are there."""
    collator = DataCollatorForSeq2Seq(tokenizer, padding=True)
    batches = (dict(collator([encode(tokenizer, draw()) for _ in range(options.batch)])) for _ in range(steps))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = get_cosine_schedule_with_warmup(optimizer, steps // 20, steps)
    log, losses, start = options.output / "log.jsonl", [], time.perf_counter()
    records = [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []
    done, every = (records[-1]["step"] if records else 0), max(1, steps // 20)
    for step, result in enumerate(fine_tune(model, batches, optimizer), 1):
        schedule.step()
        losses.append(result["loss"])
        if step % every == 0:
            seconds = round(time.perf_counter() - start, 1)
            records.append({"step": done + step, "loss": sum(losses[-every:]) / every, "seconds": seconds})
            print(f"step {step:>5} of {steps}: loss {records[-1]['loss']:.3f}, {seconds:.0f} s", flush=True)
    log.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    draw_losses(records, title=f"{model.num_parameters():,} parameters", path=options.output / "losses.png")


@torch.no_grad()
def evaluate(
    model: GPT2LMHeadModel,
    tokenizer: GPT2Tokenizer,
    by_task: dict[str, list[Example]],
    chats: list[Example],
    limit: int,
) -> dict[str, Any]:
    """The share of held-out conversations whose last reply is exactly right, and of learnt ones beside it."""
    model.eval()
    figures: dict[str, Any] = {"exact": {}}
    print(f"{'exactly right':<16} {'learnt':>8} {'held out':>9}")
    for name, examples in by_task.items():
        shares = []
        for wanted in (False, True):
            chosen = [turns for turns, held_out in examples if held_out == wanted]
            chosen = random.Random(0).sample(chosen, min(limit, len(chosen)))
            right = [reply(model, tokenizer, turns[:-1]) == turns[-1] for turns in chosen]
            shares.append(sum(right) / len(right) if right else math.nan)
        figures["exact"][name] = shares
        print(f"{name:<16} {shares[0]:>8.0%} " + (f"{shares[1]:>9.0%}" if shares[1] == shares[1] else f"{'-':>9}"))
    figures["perplexity"] = []
    for wanted in (False, True):
        rows = [encode(tokenizer, turns) for turns, held_out in chats if held_out == wanted][:200]
        batch = DataCollatorForSeq2Seq(tokenizer, padding=True)(rows)
        figures["perplexity"].append(math.exp(float(answer_loss(model, batch))))
    print("perplexity of a token of the corpus' replies: {:.1f} learnt, {:.1f} held out".format(*figures["perplexity"]))
    return figures


def reply(model: GPT2LMHeadModel, tokenizer: GPT2Tokenizer, turns: Conversation, **how: Any) -> str:
    _, kept = fit_chat(as_messages(turns), LENGTH - 40, lambda messages: encode_chat(tokenizer, messages))
    ids = torch.tensor([kept])
    written = model.generate(ids, max_new_tokens=40, pad_token_id=0, **({"do_sample": False} | how))
    return tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True).strip()


def compare_samplers(
    model: GPT2LMHeadModel, tokenizer: GPT2Tokenizer, chats: list[Example], limit: int
) -> dict[str, dict[str, float]]:
    """Replies to held-out questions of the corpus: variety, repetition, and how sure the model itself is of them."""
    questions = [turns[:1] for turns, held_out in chats if held_out][:limit]
    found = {}
    print(f"{'sampler':<16} {'perplexity':>10} {'distinct-1':>10} {'distinct-2':>10} {'repetition':>10} {'words':>6}")
    for name, settings in SAMPLERS.items():
        how = settings | ({"generator": 0} if settings.get("do_sample") else {})
        replies = [reply(model, tokenizer, question, **how) for question in questions]
        words = [word for text in replies for word in text.split()]
        rows = [encode(tokenizer, [*asked, text]) for asked, text in zip(questions, replies, strict=True)]
        with torch.no_grad():
            loss = float(answer_loss(model, DataCollatorForSeq2Seq(tokenizer, padding=True)(rows)))
        repeats = [1 - distinct_n(text.split(), 2) for text in replies if len(text.split()) > 2]
        found[name] = {
            "perplexity": math.exp(loss),
            "distinct-1": distinct_n(words, 1) if words else 0.0,
            "distinct-2": distinct_n(words, 2) if len(words) > 1 else 0.0,
            "repetition": sum(repeats) / len(repeats) if repeats else 0.0,
            "words": len(words) / len(replies),
        }
        print(f"{name:<16} " + " ".join(f"{value:>10.2f}" for value in list(found[name].values())[:-1]),
              f"{found[name]['words']:>6.1f}")  # fmt: skip
    return found


def show_chat(model: GPT2LMHeadModel, tokenizer: GPT2Tokenizer) -> None:
    turns: Conversation = []
    for message in ("Hello", "My name is Leo.", "What is 3 plus 4?", "What is my name?", "My screen is black."):
        turns.append(message)
        turns.append(reply(model, tokenizer, turns))
        print(f"you:   {turns[-2]}\nmodel: {turns[-1]}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("out/chat"), help="where the model is saved (out/chat)")
    parser.add_argument("--steps", type=int, default=2000, help="steps on single conversations (2000)")
    parser.add_argument("--mixed-steps", type=int, default=500, help="then, on mixed ones (500)")
    parser.add_argument("--continue-from", type=Path, help="a saved model, for which only the mixed steps follow")
    parser.add_argument("--batch", type=int, default=16, help="chats in a batch (16)")
    parser.add_argument("--seed", type=int, default=0, help="of first weights and order (0)")
    parser.add_argument("--tiny", action="store_true", help="a few steps of a smaller model, to try the script out")
    options = parser.parse_args()
    if options.tiny:
        options.steps, options.mixed_steps = 4, 2
    return options


def headline(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped. The next start begins again; downloads are kept.")
        sys.exit(130)
