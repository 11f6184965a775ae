"""Generation: the strategies to choose the next token by, side by side on one prompt.

    python examples/02_generate.py

What it does and prints:
  1. takes the GPT that was trained with this library (examples/checkpoints/gpt). Where that does not exist, it trains a
     tiny one here, for about a minute: a vocabulary of 2,000 byte-level tokens and a GPT-2 of 2 layers of 128, on 36
     plays by Shakespeare. The training loop stands below in the open. The result is saved to out/gpt, and the app loads
     it: python -m minitransformers app --model out/gpt. In both cases it trains a still smaller draft model;
  2. continues one prompt by every strategy, and prints the texts;
  3. sets the strategies beside each other: time per token, perplexity under the model itself, repetition, distinct-n.

What to expect: so small a model writes English words in the form of a play, and little sense; its perplexity on a play
that it has not seen is 69. The strategies differ all the same. Greedy decoding and beam search look for likely texts,
and these go round in circles: perplexity 5 and 2, and 70 % and 41 % of their 4-grams are repetitions. Sampling is the
opposite, the hotter the more: perplexity 10, 73 and 310 at temperatures 0.7, 1 and 1.3, and hardly any repetition.
Filters and penalties lie between. Assisted decoding and prompt lookup give exactly the greedy text. Prompt lookup is
faster than greedy decoding; assisted decoding is slower here, since it pays where the model is much larger than its
draft, and these two are both small. (Figures of one run. Other processors round differently, and end near it.)

It takes about 20 seconds on 2 cores that have nothing else to do. The first time it also downloads 5 MB of plays.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from pathlib import Path

import torch
from torch import Tensor

from minitransformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, GPT2Tokenizer
from minitransformers.assets import fetch
from minitransformers.data import train_byte_level_bpe
from minitransformers.generation.text_quality import TextEvaluation, evaluate_text

PROMPT = "ROSALIND.\nMy lord, I pray you, tell me"
OWN_MODEL = Path(__file__).parent / "checkpoints" / "gpt"
END_OF_TEXT = "<|endoftext|>"


def main() -> None:
    options = parse()
    plays = {path.stem: path.read_text("utf-8") for path in sorted(fetch("shakespeare").glob("*.txt"))}
    unseen = plays.pop("winters_tale")  # kept apart, to see what the model has learnt
    headline("1. The model")
    if OWN_MODEL.is_dir() and not options.quick:
        model, tokenizer = AutoModelForCausalLM.from_pretrained(OWN_MODEL), AutoTokenizer.from_pretrained(OWN_MODEL)
        print(f"The GPT that was trained with this library, {model.num_parameters():,} parameters, from {OWN_MODEL}.")
    else:
        model, tokenizer = train_tiny(list(plays.values()), options)
    perplexity = evaluate_text(model, tokenizer, unseen[:20_000]).perplexity
    print(f"Its perplexity on another play is {perplexity:.0f}, as if it were guessing among as many tokens.")
    draft = train_draft(list(plays.values()), tokenizer, options)

    headline("2. The texts")
    print(f"A slash is a line break. The prompt is:\n{on_few_lines(PROMPT)}")
    write(model, tokenizer, {}, length=5)  # the first call of all is slower than others
    results = {}
    for name, keywords in strategies(draft).items():
        ids, milliseconds = write(model, tokenizer, keywords, options.length)
        results[name] = (ids, milliseconds, evaluate_text(model, tokenizer, ids, context=PROMPT))
        print(f"\n{name}\n{on_few_lines(tokenizer.decode(ids, skip_special_tokens=True))}")
    compare(results)


def strategies(draft: GPT2LMHeadModel) -> dict[str, dict]:
    """The keywords of `generate` for each. top_k=0 turns off the filter that is on by default when sampling."""
    return {
        "greedy": {},
        "beam search, 5 beams": {"num_beams": 5},
        "beam search, no 3-gram twice": {"num_beams": 5, "no_repeat_ngram_size": 3},
        "greedy, repetition penalty 1.3": {"repetition_penalty": 1.3},
        "sampling": {"do_sample": True, "top_k": 0},
        "sampling, temperature 0.7": {"do_sample": True, "top_k": 0, "temperature": 0.7},
        "sampling, temperature 1.3": {"do_sample": True, "top_k": 0, "temperature": 1.3},
        "top-k 20": {"do_sample": True, "top_k": 20},
        "top-p 0.9": {"do_sample": True, "top_k": 0, "top_p": 0.9},
        "typical 0.5": {"do_sample": True, "top_k": 0, "typical_p": 0.5},
        "min-p 0.1": {"do_sample": True, "top_k": 0, "min_p": 0.1},
        "assisted by a smaller model": {
            "assistant_model": draft,
            "num_assistant_tokens": 4,
            "assistant_confidence_threshold": 0.0,
        },
        "prompt lookup": {"prompt_lookup_num_tokens": 5},
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=100, help="how many tokens each text has (100)")
    parser.add_argument("--output", type=Path, default=Path("out/gpt"), help="where the tiny model is saved (out/gpt)")
    parser.add_argument("--quick", action="store_true", help="train for a few seconds only, to see that all works")
    return parser.parse_args()


# ---- the models ------------------------------------------------------------------------------------------------------


def train_tiny(texts: list[str], options: argparse.Namespace) -> tuple[GPT2LMHeadModel, GPT2Tokenizer]:
    tokenizer = train_byte_level_bpe(texts, vocab_size=2000)
    torch.manual_seed(0)
    model = tiny_gpt(tokenizer, layers=2, width=128)
    print(f"A TINY model of {model.num_parameters():,} parameters, trained now for about a minute:")
    train(model, ids_of(texts, tokenizer), steps=20 if options.quick else 3000)
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    print(f"Saved to {options.output}. Play with it: python -m minitransformers app --model {options.output}")
    return model, tokenizer


def train_draft(texts: list[str], tokenizer: GPT2Tokenizer, options: argparse.Namespace) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    draft = tiny_gpt(tokenizer, layers=1, width=64)
    print(f"\nAnd a draft model of {draft.num_parameters():,} parameters, which will guess ahead for the first:")
    train(draft, ids_of(texts, tokenizer), steps=20 if options.quick else 600)
    return draft


def ids_of(texts: list[str], tokenizer: GPT2Tokenizer) -> Tensor:
    ids = torch.tensor(tokenizer(END_OF_TEXT.join(texts), verbose=False)["input_ids"])
    print(f"  {len(texts)} plays by Shakespeare, {len(ids):,} tokens of a vocabulary of {len(tokenizer):,}")
    return ids


def tiny_gpt(tokenizer: GPT2Tokenizer, layers: int, width: int) -> GPT2LMHeadModel:
    end = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=128, n_embd=width, n_layer=layers, n_head=4,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,  # it sees every text about once: nothing to overfit
        bos_token_id=end, eos_token_id=end,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def train(model: GPT2LMHeadModel, ids: Tensor, steps: int) -> None:
    """Predict the next token of random excerpts, again and again: all that there is to training a language model."""
    batch, length, rate = 4, model.config.n_positions, 6e-3
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.1)
    generator = torch.Generator().manual_seed(0)
    started = time.perf_counter()
    model.train()
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:  # up for a while, then down to nothing
            group["lr"] = rate * min(step / 20, 1 - (step - 1) / steps)
        starts = torch.randint(0, len(ids) - length, (batch, 1), generator=generator)
        excerpts = ids[starts + torch.arange(length)]  # (batch, length)
        loss = model(excerpts, labels=excerpts).loss  # the labels are shifted inside the model
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % (steps // 4) == 0:
            print(f"  step {step:>4}: loss {loss.item():.2f} after {time.perf_counter() - started:.0f} s", flush=True)
    model.eval()


# ---- the strategies --------------------------------------------------------------------------------------------------


def write(model: GPT2LMHeadModel, tokenizer: GPT2Tokenizer, keywords: dict, length: int) -> tuple[list[int], float]:
    """The ids of a continuation of the prompt, and the milliseconds for each."""
    inputs = tokenizer(PROMPT, return_tensors="pt")
    started = time.perf_counter()
    ids = model.generate(**inputs, max_new_tokens=length, generator=0, **keywords)  # 0 is the seed of the draws
    seconds = time.perf_counter() - started
    new = ids[0, inputs["input_ids"].shape[1] :].tolist()
    return new, 1000 * seconds / len(new)


def compare(results: dict[str, tuple[list[int], float, TextEvaluation]]) -> None:
    headline("3. Side by side")
    print(f"{'strategy':<32}{'ms/token':>9}{'perplexity':>12}{'repetition':>12}{'distinct-1':>12}{'distinct-2':>12}")
    for name, (_, milliseconds, result) in results.items():
        print(
            f"{name:<32}{milliseconds:>9.1f}{result.perplexity:>12.1f}{result.repetition:>12.2f}"
            f"{result.distinct_1:>12.2f}{result.distinct_2:>12.2f}"
        )
    print("\nperplexity: how surprising the model finds the text, 1 is not at all.   repetition: the part of its")
    print("4-grams that came before.   distinct-n: the part of its n-grams that are different ones.")
    alike = ("greedy", "assisted by a smaller model", "prompt lookup")
    same = all(results[name][0] == results["greedy"][0] for name in alike)
    print(f"\n{', '.join(alike)}: {'the same text' if same else 'DIFFERENT texts'}.   expected: the same text")


def on_few_lines(text: str) -> str:
    """The text without its blank lines."""
    lines = " / ".join(line for line in text.split("\n") if line.strip())
    return textwrap.fill(lines, 110, initial_indent="    ", subsequent_indent="    ")


def headline(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped. The next start begins again; downloads are kept.")
        sys.exit(130)
