"""The transformer of "Attention is all you need", trained from scratch to translate: dates as people write them.

    pip install -e '.[demo]' && python examples/07_transformer.py

What it does and prints:
  1. makes pairs of a date as people write it, in one of six forms, and the same date as computers do ("tuesday, 3 march
     1998", "1998-03-03"), from 1900 to 2099. One date in twenty is kept apart: it is seen in training in no form;
  2. trains a transformer of 2 + 2 layers of 64 on them, a character a token, as the paper does it: label smoothing,
     Adam, a learning rate that rises and falls with the square root of the step. The loop stands below in the open;
  3. saves it to out/transformer, loads it from there, and translates 1,000 dates that were kept apart, greedily; prints
     how many are right to the last character, for each form, and some examples;
  4. draws where the decoder looks as it writes: out/07_transformer.png.

What to expect: 99 % of the unseen dates are right. Bare numbers ("10/5/1965") and dates behind a weekday are hardest,
98 %: there it has to find out which digits are which. The loss that is printed does not go to 0 but to about 0.7, since
label smoothing asks for a little doubt: a perfect model that doubts just as much has 0.69. In the picture, the second
layer looks at the very digit that it copies, and for a month at its name's first letter, where the encoder has gathered
what the others are. (Figures of one run. Other processors round differently, and end near it.)

It takes 50 seconds of one core's time.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from minitransformers import TransformerConfig, TransformerForConditionalGeneration
from minitransformers.visualization import HeadMap, draw_side_by_side

PAD, START, END = 0, 1, 2
TOKENS = ["<pad>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz0123456789 ,-/"]
IDS = {token: number for number, token in enumerate(TOKENS)}
IGNORED = -100  # the label of a place that does not count

# Names of our own, since those of `date.strftime` depend on the computer's language.
MONTHS = ["january", "february", "march", "april", "may", "june"]
MONTHS += ["july", "august", "september", "october", "november", "december"]
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
FORMS: dict[str, Callable[[date], str]] = {
    "day month year": lambda day: f"{day.day} {month(day)} {day.year}",
    "month day, year": lambda day: f"{month(day)} {day.day}, {day.year}",
    "weekday, day month year": lambda day: f"{WEEKDAYS[day.weekday()]}, {day.day} {month(day)} {day.year}",
    "the day of month year": lambda day: f"the {day.day}{ending(day.day)} of {month(day)} {day.year}",
    "day mon year": lambda day: f"{day.day} {month(day)[:3]} {day.year}",
    "day/month/year": lambda day: f"{day.day}/{day.month}/{day.year}",
}


def main() -> None:
    options = parse()
    draws = random.Random(0)
    torch.manual_seed(0)
    days = [date(1900, 1, 1) + timedelta(days=number) for number in range(73_049)]
    draws.shuffle(days)
    unseen, seen = days[: len(days) // 20], days[len(days) // 20 :]
    print(f"{len(seen):,} dates to learn from, in {len(FORMS)} forms each, and {len(unseen):,} kept apart.")

    config = TransformerConfig(vocab_size=len(TOKENS), d_model=64, d_ff=256, num_layers=2, num_heads=4)
    model = TransformerForConditionalGeneration(config)
    print(f"A transformer of {model.num_parameters():,} parameters, with {len(TOKENS)} characters as its tokens.\n")
    train(model, seen, 40 if options.quick else 1000, draws)
    model.save_pretrained(options.output)

    model = TransformerForConditionalGeneration.from_pretrained(options.output)  # as good as new: no dropout
    asked = unseen[:100] if options.quick else unseen[:1000]
    right, written = Counter(), {}
    for name, form in FORMS.items():
        written[name] = translate(model, [form(day) for day in asked])
        right[name] = sum(text == day.isoformat() for text, day in zip(written[name], asked, strict=True))
    print(f"\nRight to the last character, of {len(asked):,} unseen dates in each form:")
    for row, (name, count) in enumerate(right.items()):
        print(f"  {name:<26}{count / len(asked):7.1%}   {FORMS[name](asked[row])} → {written[name][row]}")
    print(f"  {'all':<26}{right.total() / len(FORMS) / len(asked):7.1%}")

    path = draw(model, "tuesday, 3 march 1998", options.output.parent / "07_transformer.png")
    print(f"\nWhere it looks as it writes: {path}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("out/transformer"), help="where it is saved (out/…)")
    parser.add_argument("--quick", action="store_true", help="40 steps only, to see that everything runs")
    return parser.parse_args()


# ---- dates -----------------------------------------------------------------------------------------------------------


def month(day: date) -> str:
    return MONTHS[day.month - 1]


def ending(number: int) -> str:
    return "th" if 10 < number < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def ids_of(text: str) -> Tensor:
    return torch.tensor([IDS[character] for character in text] + [END])


def text_of(ids: Tensor) -> str:
    return "".join(TOKENS[number] for number in ids.tolist() if number not in (PAD, START, END))


def as_inputs(texts: list[str]) -> dict[str, Tensor]:
    """The texts as a batch, padded to the longest of them."""
    input_ids = pad_sequence([ids_of(text) for text in texts], batch_first=True, padding_value=PAD)
    return {"input_ids": input_ids, "attention_mask": (input_ids != PAD).long()}


def as_labels(days: list[date]) -> Tensor:
    return pad_sequence([ids_of(day.isoformat()) for day in days], batch_first=True, padding_value=IGNORED)


# ---- training and translating ----------------------------------------------------------------------------------------


def train(model: TransformerForConditionalGeneration, days: list[date], steps: int, draws: random.Random) -> None:
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), eps=1e-9)  # §5.3 of the paper
    width, warmup = model.config.d_model, 300
    started, losses = time.perf_counter(), []
    model.train()
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = width**-0.5 * min(step**-0.5, step * warmup**-1.5)  # equation 3
        batch = draws.choices(days, k=64)
        texts = [draws.choice(list(FORMS.values()))(day) for day in batch]
        # The labels, shifted by one place, are what the decoder reads: each character is learnt from those before.
        loss = model(**as_inputs(texts), labels=as_labels(batch)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % (steps // 10) == 0:
            mean = sum(losses[-steps // 10 :]) / (steps // 10)
            print(f"step {step:>5} of {steps}   loss {mean:.3f}   {time.perf_counter() - started:5.1f} s", flush=True)


def translate(model: TransformerForConditionalGeneration, texts: list[str]) -> list[str]:
    """Greedily: at each place the character with the highest score."""
    return [text_of(ids) for ids in model.generate(**as_inputs(texts), max_new_tokens=12)]


# ---- where it looks --------------------------------------------------------------------------------------------------


@torch.no_grad()
def draw(model: TransformerForConditionalGeneration, text: str, path: Path) -> Path:
    """The cross-attention of each decoder layer, mean of its heads: rows are what is written, columns the text."""
    inputs = as_inputs([text])
    ids = model.generate(**inputs, max_new_tokens=12)[0]
    attentions = model(**inputs, decoder_input_ids=ids[None, :-1], output_attentions=True).cross_attentions
    names = [token.replace(" ", "␣") for token in TOKENS]
    written = [names[number] for number in ids[1:]]  # row by row what the decoder wrote, having looked there
    read = [names[number] for number in inputs["input_ids"][0]]
    maps = [
        HeadMap(layer[0].mean(dim=0), written, f"decoder layer {number}, mean of its heads", key_tokens=read)
        for number, layer in enumerate(attentions, start=1)
    ]
    title = f"Where the decoder looks in “{text}” as it writes {text_of(ids)}"
    draw_side_by_side(*maps, title=title, path=path)
    return path


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped. The next start begins again.")
        sys.exit(130)
