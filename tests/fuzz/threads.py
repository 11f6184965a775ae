"""Let threads share a tokenizer and a model, and compare what each call gives with what it gives alone.

    python tests/fuzz/threads.py --calls 10000                # of each of 8 threads, on tokenizers and on models

The calls are mixed: lengths, pairs, padding, truncation and tensors; masks, labels, hidden states, attention maps, a
cache, and generation. Prints the number of wrong results, and ends with 1 if there is any.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import torch
from torch import Tensor

import minitransformers as mt

Call = Callable[[], Any]
WORDS = ["hello", "world", "a", "b", "!", "é", "ab", "unknown"]


def tokenizer_calls() -> list[Call]:
    """Calls of one tokenizer whose settings differ, so that settings of another call would show."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "a", "b", "##b", "!", "é"]
    tokenizer = mt.BertTokenizer({piece: index for index, piece in enumerate(pieces)})
    chance, calls = Random(0), []
    for _ in range(60):
        texts = [" ".join(chance.choices(WORDS, k=chance.randint(1, 12))) for _ in range(chance.randint(1, 4))]
        options = {
            "padding": chance.choice([False, True, "max_length"]),
            "truncation": chance.choice([False, True]),
            "max_length": chance.choice([8, 14, 40]),
            "add_special_tokens": chance.random() < 0.8,
            "return_offsets_mapping": chance.random() < 0.3,
        }
        pairs = texts[::-1] if chance.random() < 0.3 else None
        calls.append(lambda texts=texts, pairs=pairs, options=options: dict(tokenizer(texts, pairs, **options)))
    calls += [lambda text=text: tokenizer.tokenize(text) for text in WORDS]
    calls += [lambda n=n: tokenizer.decode(list(range(n)), skip_special_tokens=n % 2 == 0) for n in range(9)]
    return calls


def model_calls() -> list[Call]:
    """Calls of a decoder and an encoder with other shapes and options."""
    torch.manual_seed(0)
    tiny: dict[str, Any] = {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 24}
    gpt = mt.GPT2LMHeadModel(mt.GPT2Config(vocab_size=20, bos_token_id=0, eos_token_id=1, **tiny)).eval()
    sizes: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    bert = mt.BertForMaskedLM(mt.BertConfig(vocab_size=20, max_position_embeddings=24, **sizes)).eval()
    chance, calls = Random(1), []
    for number in range(40):
        ids = torch.randint(2, 20, (chance.randint(1, 3), chance.randint(2, 9)))
        mask = torch.ones_like(ids)
        mask[0, : ids.shape[1] // 2] = 0
        options: dict[str, Any] = {"attention_mask": mask} if number % 2 else {}
        options |= {"output_attentions": True} if number % 5 == 0 else {}
        options |= {"output_hidden_states": True} if number % 3 == 0 else {}
        options |= {"labels": ids} if number % 4 == 0 else {}
        model: Any = chance.choice([gpt, bert])
        calls.append(lambda model=model, ids=ids, options=options: model(input_ids=ids, **options).to_tuple())
        if number % 8 == 0:
            how = {"num_beams": 2} if number % 16 else {"do_sample": False}
            calls.append(lambda ids=ids, how=how: gpt.generate(ids, max_new_tokens=4, pad_token_id=0, **how))
    return calls


def plain(value: Any) -> Any:
    """Tensors and caches as something that `==` compares."""
    if isinstance(value, Tensor):
        return value.dtype, value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if hasattr(value, "layers"):
        return [[plain(layer.keys), plain(layer.values)] for layer in value.layers]
    return value


def wrong_results(calls: Sequence[Call], threads: int, number: int) -> int:
    """How many of `number` calls of each thread give something else than the same call gave before the threads."""
    with torch.no_grad():
        expected = [plain(call()) for call in calls]

    def work(seed: int) -> int:
        chance = Random(seed)
        with torch.no_grad():
            chosen = (chance.randrange(len(calls)) for _ in range(number))
            return sum(plain(calls[index]()) != expected[index] for index in chosen)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(work, range(threads)))


def main() -> int:
    """Run both kinds of calls; 1 if a result was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000, help="calls of each thread, of each kind (1000)")
    parser.add_argument("--threads", type=int, default=8, help="threads at once (8)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    wrong = 0
    for name, calls in (("tokenizers", tokenizer_calls()), ("models", model_calls())):
        found = wrong_results(calls, options.threads, options.calls)
        print(
            f"{name}: {options.threads * options.calls:,} calls by {options.threads} threads, {found} wrong", flush=True
        )
        wrong += found
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
