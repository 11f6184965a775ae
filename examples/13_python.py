"""A small model of Python: from random weights to functions that are written from a description, run and tested.

    pip install -e '.[examples]' && python examples/13_python.py

What it does and prints:
  1. makes tasks: a line of `def`, a description, and the code; half are parts in all combinations ("the squares of the
     items that are even"). One in seven is held out: another number or word, or a combination whose parts are known;
  2. adds 2,500 functions of the standard library with their docstrings, and trains a GPT-2 of 5 layers of 192 from
     random weights; only the bodies are learnt;
  3. lets it write five bodies for each of some tasks. Those that are Python run in a process of their own, under limits
     of time, memory and files, against inputs with known results: the share that parses, pass@1 and pass@5;
  4. saves the model, figures.json, log and picture.

It learns these forms, and no programming; tasks such as HumanEval's are far beyond a model of this size.

No full run's figures stand here yet; --tiny shows the form of the tables in seconds.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import torch
from functions import Task, generated_tasks, library_functions, pass_at_k, passes, sample

from minitransformers import (
    DataCollatorForSeq2Seq,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
    get_cosine_schedule_with_warmup,
)
from minitransformers.alignment import answer_loss, encode_answer, fine_tune
from minitransformers.data import train_byte_level_bpe
from minitransformers.visualization import draw_losses

LENGTH = 192
TRIES = 5


def main() -> None:
    options = parse()
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    tasks, library = generated_tasks(), library_functions(files=20 if options.tiny else None)
    learnt, held_out = ([task for task in tasks if task.is_held_out == wanted] for wanted in (False, True))
    random.shuffle(library)
    library, unseen = library[len(library) // 25 :], library[: len(library) // 25]
    texts = [task.prompt + task.solution for task in learnt] + [head + body for head, body in library]
    tokenizer = train_byte_level_bpe(texts, vocab_size=2000)
    tokenizer.pad_token = tokenizer.eos_token
    print(f"{len(learnt):,} generated tasks and {len(library):,} functions of the standard library to learn from; "
          f"{len(held_out)} tasks and {len(unseen)} functions are held out.")  # fmt: skip

    width, layers, heads = (32, 2, 2) if options.tiny else (192, 5, 6)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer), n_positions=LENGTH, n_embd=width, n_layer=layers, n_head=heads,
            bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        )
    )  # fmt: skip
    print(f"A GPT-2 of {layers} layers of {width}: {model.num_parameters():,} parameters.", flush=True)
    rows = [encode_answer(tokenizer, task.prompt, task.solution) for task in learnt]
    longer = encode_functions(tokenizer, library)
    train(model, tokenizer, rows, longer, options)

    figures = evaluate(model, tokenizer, {"learnt": learnt, "held out": held_out}, options)
    with torch.no_grad():
        unknown = DataCollatorForSeq2Seq(tokenizer, padding=True)(encode_functions(tokenizer, unseen))
        figures["library_loss"] = float(answer_loss(model, unknown))
    print(f"loss of a token of the library's held-out functions: {figures['library_loss']:.2f}")
    print(f"\n{EXAMPLE}{write(model, tokenizer, EXAMPLE, 1)[0]}")
    model.generation_config.update(do_sample=False, max_new_tokens=80)
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    (options.output / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


EXAMPLE = 'def f(items):\n    """Return the squares of the items that are odd."""\n'


def encode_functions(tokenizer: GPT2Tokenizer, functions: list[tuple[str, str]]) -> list[dict[str, list[int]]]:
    short = [(head, body) for head, body in functions if len(tokenizer(head)["input_ids"]) < LENGTH // 2]
    return [encode_answer(tokenizer, head, body, max_length=LENGTH) for head, body in short]


def train(
    model: Any, tokenizer: GPT2Tokenizer, rows: list[Any], longer: list[Any], options: argparse.Namespace
) -> None:
    """Batches of generated tasks; every fourth is of the library, whose functions are longer."""
    collator = DataCollatorForSeq2Seq(tokenizer, padding=True)
    steps = options.steps or (6 if options.tiny else 1200)
    kinds = [(longer, 4) if step % 4 == 3 else (rows, 16) for step in range(steps)]
    batches = (dict(collator(random.choices(chosen, k=size))) for chosen, size in kinds)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = get_cosine_schedule_with_warmup(optimizer, steps // 20, steps)
    records, losses, start, every = [], [], time.perf_counter(), max(1, steps // 50)
    for step, result in enumerate(fine_tune(model, batches, optimizer), 1):
        schedule.step()
        losses.append(result["loss"])
        if step % every == 0:
            seconds = round(time.perf_counter() - start, 1)
            records.append({"step": step, "loss": sum(losses[-every:]) / every, "seconds": seconds})
            if step % (5 * every) == 0:
                print(f"step {step:>5} of {steps}: loss {records[-1]['loss']:.3f}, {seconds:.0f} s", flush=True)
    (options.output / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    draw_losses(records, title=f"{model.num_parameters():,} parameters", path=options.output / "losses.png")


def evaluate(model: Any, tokenizer: Any, groups: dict[str, list[Task]], options: argparse.Namespace) -> dict[str, Any]:
    """For some tasks of each kind: the share of tries that are Python, and pass@1 and pass@5 after running them."""
    model.eval()
    figures: dict[str, Any] = {}
    print(f"\n{'':<24} {'tasks':>6} {'parses':>7} {'pass@1':>7} {f'pass@{TRIES}':>7}")
    for group, tasks in groups.items():
        for kind in ("values", "combinations"):
            chosen = sample([task for task in tasks if task.kind == kind], 1 if options.tiny else options.tasks)
            results, parsed = [], 0
            for task in chosen:
                bodies = write(model, tokenizer, task.prompt, TRIES)
                good = [is_python(task.prompt + body) for body in bodies]
                parsed += sum(good)
                right = {body: passes(task, body) for body in {b for b, ok in zip(bodies, good, strict=True) if ok}}
                results.append([right.get(body, False) for body in bodies])
            name = f"{kind}, {group}"
            figures[name] = {
                "tasks": len(chosen),
                "parses": parsed / (TRIES * len(chosen)),
                "pass@1": pass_at_k(results, 1),
                f"pass@{TRIES}": pass_at_k(results, TRIES),
            }
            shown = " ".join(f"{value:>7.1%}" for key, value in figures[name].items() if key != "tasks")
            print(f"{name:<24} {len(chosen):>6} {shown}", flush=True)
    return figures


def write(model: Any, tokenizer: Any, prompt: str, tries: int) -> list[str]:
    """Bodies of the function, drawn with a temperature of 0.5."""
    inputs = tokenizer(prompt, return_tensors="pt")
    how: dict[str, Any] = {"do_sample": True, "temperature": 0.5, "top_k": 0, "generator": 0} if tries > 1 else {}
    ids = model.generate(**inputs, max_new_tokens=60, num_return_sequences=tries, pad_token_id=0, **how)
    return tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def is_python(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("out/python"), help="where the model is saved (out/python)")
    parser.add_argument("--steps", type=int, help="how often the weights are changed (1200)")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="at its highest (0.002)")
    parser.add_argument("--tasks", type=int, default=40, help="how many tasks of each kind are tried (40)")
    parser.add_argument("--seed", type=int, default=0, help="of first weights and order (0)")
    parser.add_argument("--tiny", action="store_true", help="a few steps of a smaller model, to try the script out")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped. The next start begins again; downloads are kept.")
        sys.exit(130)
