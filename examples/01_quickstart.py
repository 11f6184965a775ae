"""Quickstart: sentences as vectors, BERT beside GPT-2, and a picture of what each of them looks at.

    pip install -e '.[demo]' && python examples/01_quickstart.py [picture.png]

What it does and prints:
  1. loads all-MiniLM-L6-v2, a real BERT of 6 layers, and compares sentences by the cosine of their vectors;
  2. shows what BERT computes: one vector for each token, [CLS] first;
  3. shows what GPT-2 computes: a score for each of 50,257 tokens to come next. With its real weights where a model hub
     answers; otherwise with random ones, and the output says so;
  4. asks both for the same word: a BERT and a GPT of 2 million parameters that this library has trained on plays by
     Shakespeare (examples/checkpoints). One sees what comes before it and after it, one only what comes before;
  5. sets the two beside each other at their published sizes and counts parameters, without the memory for them;
  6. draws BERT's attention, which goes both ways, beside GPT-2's, which only goes back (out/01_quickstart.png).
What should come out stands beside what came out.

It takes about 10 seconds on 2 cores. The first time it also downloads 92 MB for MiniLM, 1.5 MB for GPT-2's vocabulary
and, where a hub answers, 550 MB for GPT-2.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from minitransformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BertTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
)
from minitransformers.assets import fetch, fetch_if_reachable
from minitransformers.visualization import HeadMap, draw_side_by_side

CHECKPOINTS = Path(__file__).parent / "checkpoints"
SENTENCE = "The animal didn't cross the street because it was too tired."


def main() -> None:
    sys.stdout.reconfigure(errors="replace")  # a console without the character Ġ shows "?" and goes on
    picture = parse().picture
    minilm = fetch("minilm")
    tokenizer = AutoTokenizer.from_pretrained(minilm)  # a BertTokenizer, because config.json says so
    model = AutoModel.from_pretrained(minilm)  # a BertModel, for the same reason, and ready to use
    with torch.inference_mode():
        compare_sentences(tokenizer, model)
        look_at_bert(tokenizer, model)
        gpt2_tokenizer, gpt2, gpt2_name = load_gpt2()
        look_at_gpt2(gpt2_tokenizer, gpt2, gpt2_name)
        fill_in_and_go_on()
        compare_architectures()
        draw_attention(tokenizer, model, gpt2_tokenizer, gpt2, gpt2_name, picture)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path("out/01_quickstart.png")
    parser.add_argument("picture", nargs="?", type=Path, default=default, help=f"where it is saved ({default})")
    return parser.parse_args()


def compare_sentences(tokenizer: BertTokenizer, model: BertModel) -> None:
    headline("1. Sentences as vectors (MiniLM, real weights)")
    sentences = [
        "A man is eating food.",
        "Someone eats a meal.",
        "The stock market fell today.",
        "Shares lost value this afternoon.",
        "A cat sleeps on the sofa.",
    ]
    vectors = embed(tokenizer, model, sentences)
    cosines = vectors @ vectors.T
    print("Cosine of each sentence with each: 1 is the same direction, 0 is unrelated.\n")
    for sentence, row in zip(sentences, cosines, strict=True):
        print(f"  {sentence:<34}" + "".join(f"{cosine:8.3f}" for cosine in row.tolist()))
    print(f"\n  food, meal:  {cosines[0, 1]:6.3f}   expected  0.761")
    print(f"  food, stock: {cosines[0, 2]:6.3f}   expected -0.017")

    question = "What is going on in finance?"
    nearest = (embed(tokenizer, model, [question]) @ vectors.T).argmax().item()
    print(f"\n  Nearest to {question!r}: {sentences[nearest]!r}")
    print("                               expected: 'The stock market fell today.'")


def embed(tokenizer: BertTokenizer, model: BertModel, sentences: list[str]) -> Tensor:
    """One vector of length 1 for each sentence: the mean of its tokens' hidden states, padding left out."""
    inputs = tokenizer(sentences, padding=True, return_tensors="pt")
    states = model(**inputs).last_hidden_state  # (sentences, tokens, 384)
    weights = inputs["attention_mask"].unsqueeze(-1).to(states.dtype)
    return F.normalize((states * weights).sum(1) / weights.sum(1), dim=-1)


def look_at_bert(tokenizer: BertTokenizer, model: BertModel) -> None:
    headline("2. BERT: one vector for each token (MiniLM, real weights)")
    inputs = tokenizer("A man is eating food.", return_tensors="pt")
    states = model(**inputs).last_hidden_state
    print(f"last_hidden_state has the shape {tuple(states.shape)}: sentences, tokens, hidden size.\n")
    print("  token        id   the first four of 384 numbers")
    ids = inputs["input_ids"][0]
    for token, number, state in zip(tokenizer.convert_ids_to_tokens(ids), ids.tolist(), states[0], strict=True):
        print(f"  {token:<8} {number:>6}  " + "".join(f"{value:9.4f}" for value in state[:4].tolist()))
    print("  expected for [CLS]  -0.0026   0.1177   0.0037   0.2447")
    print("\nThe vector of [CLS], the first token, stands for the sentence where a classifier is trained on top of it.")


def load_gpt2() -> tuple[GPT2Tokenizer, GPT2LMHeadModel, str]:
    """GPT-2 from a hub if one answers; otherwise its real tokenizer, and a small model with random weights."""
    directory = fetch_if_reachable("gpt2")
    if directory is not None:
        return GPT2Tokenizer.from_pretrained(directory), GPT2LMHeadModel.from_pretrained(directory), "real weights"
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=64, n_head=4))  # everything else as published
    return GPT2Tokenizer.from_pretrained(fetch("gpt2-tokenizer")), model.eval(), "RANDOM weights"


def look_at_gpt2(tokenizer: GPT2Tokenizer, model: GPT2LMHeadModel, name: str) -> None:
    headline(f"3. GPT-2: a score for every token to come next ({name})")
    if name == "RANDOM weights":
        print("No model hub answers, so this is a GPT-2 of 2 layers whose weights are random. The vocabulary is")
        print("GPT-2's own; what the model predicts means nothing.\n")
    inputs = tokenizer("The capital of France is", return_tensors="pt")
    logits = model(**inputs).logits
    tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    print("Tokens (Ġ is the space before a word):", *tokens)
    print(f"logits has the shape {tuple(logits.shape)}: sentences, tokens, vocabulary.   expected (1, 5, 50257)\n")
    probabilities = logits[0, -1].softmax(-1)  # the last position's scores are for what comes next
    best = probabilities.topk(5)
    print('  "The capital of France is" …')
    for probability, token in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        print(f"  {probability:9.5f}  {tokenizer.decode([token])!r}")
    if name == "RANDOM weights":
        print(f"  expected: all near 1/50257 = {1 / 50257:.5f}, as from a model that knows nothing")


def fill_in_and_go_on() -> None:
    headline("4. The same word from both sides, and from one (small models, trained with this library)")
    bert = AutoModelForMaskedLM.from_pretrained(CHECKPOINTS / "bert")
    gpt = AutoModelForCausalLM.from_pretrained(CHECKPOINTS / "gpt")
    bert_tokenizer, gpt_tokenizer = (AutoTokenizer.from_pretrained(CHECKPOINTS / name) for name in ("bert", "gpt"))
    for before, after in (("My", ", I will go with thee."), ("What is thy", "? My name is Tom.")):
        inputs = bert_tokenizer(f"{before} [MASK]{after}", return_tensors="pt")
        masked = inputs["input_ids"][0] == bert_tokenizer.mask_token_id
        print(f"  BERT  {f'{before} ___{after}':<34}{best_words(bert(**inputs).logits[0, masked][0], bert_tokenizer)}")
        logits = gpt(**gpt_tokenizer(before, return_tensors="pt")).logits[0, -1]
        print(f"  GPT   {f'{before} ___':<34}{best_words(logits, gpt_tokenizer)}")
    print("  expected of BERT: lord 0.60 and name 0.40; of the GPT: lord 0.09 and father 0.06")


def best_words(logits: Tensor, tokenizer: BertTokenizer | GPT2Tokenizer) -> str:
    best = logits.softmax(-1).topk(3)
    return "   ".join(
        f"{tokenizer.decode([token]).strip()} {probability:.2f}"
        for probability, token in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    )


def compare_architectures() -> None:
    headline("5. BERT and GPT-2 at their published sizes")
    with torch.device("meta"):  # shapes without memory
        bert, gpt2 = BertModel(BertConfig()), GPT2LMHeadModel(GPT2Config())
    rows = [
        ("", "BERT base", "GPT-2"),
        ("layers", bert.config.num_hidden_layers, gpt2.config.n_layer),
        ("hidden size", bert.config.hidden_size, gpt2.config.n_embd),
        ("vocabulary", f"{bert.config.vocab_size:,}", f"{gpt2.config.vocab_size:,}"),
        ("a token looks at", "all tokens", "itself and those before"),
        ("gives", "a vector for each token", "scores of the next token"),
        ("parameters", f"{bert.num_parameters():,}", f"{gpt2.num_parameters():,}"),
        ("  expected", "109,482,240", "124,439,808"),
    ]
    for name, of_bert, of_gpt2 in rows:
        print(f"  {name:<18}{of_bert:<25}{of_gpt2}")


def draw_attention(
    tokenizer: BertTokenizer,
    model: BertModel,
    gpt2_tokenizer: GPT2Tokenizer,
    gpt2: GPT2LMHeadModel,
    gpt2_name: str,
    picture: Path,
) -> None:
    headline("6. Who looks at whom")
    inputs, gpt2_inputs = tokenizer(SENTENCE, return_tensors="pt"), gpt2_tokenizer(SENTENCE, return_tensors="pt")
    tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    gpt2_tokens = gpt2_tokenizer.convert_ids_to_tokens(gpt2_inputs["input_ids"][0])
    # One tensor for each layer, (sentences, heads, query, key): row i says how token i spreads its attention.
    weights = model(**inputs, output_attentions=True).attentions[3][0, 1]
    gpt2_weights = gpt2(**gpt2_inputs, output_attentions=True).attentions[1][0, 0]

    it = tokens.index("it")
    favourite = weights[it].argmax().item()
    ahead = gpt2_weights.triu(1).max().item()
    print(f"  {SENTENCE}\n")
    print(f"  BERT, layer 3, head 1: 'it' looks most at {tokens[favourite]!r}, {weights[it, favourite]:.2f}")
    print("                                 expected: 'animal', 0.68")
    print(f"  GPT-2: the largest weight of a token that is still to come: {ahead}")
    print("                                                    expected: 0.0")
    draw_side_by_side(
        HeadMap(weights, tokens, "BERT, layer 3, head 1: every token sees all (real weights)"),
        HeadMap(gpt2_weights, gpt2_tokens, f"GPT-2, layer 1, head 0: only what came before ({gpt2_name})"),
        title="Bidirectional and causal attention",
        path=picture,
    )
    print(f"\n  Picture: {picture}")


def headline(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped. The next start begins again; downloads are kept.")
        sys.exit(130)
