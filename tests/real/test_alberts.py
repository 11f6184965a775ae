"""Two real ALBERTs: of chemical reactions, and of Japanese words. Transformers' numbers, and their known answers."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import minitransformers
from minitransformers import AlbertForMaskedLM, AutoModelForMaskedLM
from minitransformers.assets import fetch

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

# rxnmapper's own: how it cuts a reaction into tokens, and its first published example.
SMILES_TOKENS = re.compile(
    r"(\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>>?|\*|\$|\%[0-9]{2}|[0-9])"
)
REACTION = "CC(C)S.CN(C)C=O.Fc1cccnc1F.O=C([O-])[O-].[K+].[K+]>>CC(C)Sc1ncccc1F"
# Its answer, [CH3:1][CH:2]([CH3:3])[SH:4].CN(C)C=O.F[c:5]1[n:6][cH:7][cH:8][cH:9][c:10]1[F:11] …: from which of the
# reactants' atoms, counted as they stand in REACTION, each atom of the product comes.
MAPPING = [0, 1, 2, 3, 15, 14, 13, 12, 11, 10, 9]
HEAD, LAYER = 5, 10  # the ones that were found to do it

SENTENCE = "使い方のサンプルです。"
WORDS = "使い/動詞 方/接尾辞 の/助詞 サンプル/名詞 です/助動詞 。/補助記号"


def reaction_tokens() -> tuple[list[str], Tensor]:
    lines = (fetch("rxnmapper") / "vocab.txt").read_text("utf-8").splitlines()
    vocabulary = {token: index for index, token in enumerate(lines)}
    tokens = ["[CLS]", *SMILES_TOKENS.findall(REACTION), "[SEP]"]
    return tokens, torch.tensor([[vocabulary[token] for token in tokens]])


def japanese_ids(config: Any) -> Tensor:
    places = {character: index + 3 for index, character in enumerate(config.chars)}
    return torch.tensor([[places[character] for character in SENTENCE]])


@pytest.mark.parametrize("asset", ["rxnmapper", "unidic-imitator"])
@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@torch.no_grad()
def test_same_numbers(asset: str, kernel: str) -> None:
    directory = fetch(asset)
    mine, report = AlbertForMaskedLM.from_pretrained(directory, attn_implementation=kernel, output_loading_info=True)
    theirs = transformers.AlbertForMaskedLM.from_pretrained(directory, attn_implementation=kernel)
    assert not report["missing_keys"]
    assert not report["mismatched_keys"]
    ids = reaction_tokens()[1] if asset == "rxnmapper" else japanese_ids(mine.config)
    options = {"output_hidden_states": True, **({"output_attentions": True} if kernel == "eager" else {})}
    got, expected = mine(ids, **options), theirs(ids, **options)
    torch.testing.assert_close(got.logits, expected.logits, rtol=0, atol=2e-5)
    for name in options:
        for ours, reference in zip(
            got[name.removeprefix("output_")], expected[name.removeprefix("output_")], strict=True
        ):
            torch.testing.assert_close(ours, reference, rtol=0, atol=1e-5)


def test_auto_class_and_tokenizer() -> None:
    """The reactions' vocabulary is BERT's kind."""
    directory = fetch("rxnmapper")
    assert type(AutoModelForMaskedLM.from_pretrained(directory)) is AlbertForMaskedLM
    text = " ".join(SMILES_TOKENS.findall(REACTION))
    ours, theirs = (
        library.BertTokenizer.from_pretrained(directory, do_lower_case=False)(text).input_ids
        for library in (minitransformers, transformers)
    )
    assert ours == theirs


@torch.no_grad()
def test_attention_says_where_atoms_come_from() -> None:
    """One head of one layer maps the product's atoms to the reactants': the best pair first, each atom once."""
    model = AlbertForMaskedLM.from_pretrained(fetch("rxnmapper"))
    tokens, ids = reaction_tokens()
    attention = model(ids, output_attentions=True).attentions[LAYER][0, HEAD]
    atoms = [i for i, token in enumerate(tokens[:-1]) if i and (token[0].isalpha() or token[0] == "[")]
    arrow = tokens.index(">>")
    reactants, products = [i for i in atoms if i < arrow], [i for i in atoms if i > arrow]
    scores = attention[products][:, reactants] + attention[reactants][:, products].T
    elements = [re.sub("[^A-Za-z]", "", token).capitalize() for token in tokens]
    for row, product in enumerate(products):
        for column, reactant in enumerate(reactants):
            if elements[product] != elements[reactant]:
                scores[row, column] = 0
    mapping = {}
    for _ in products:
        row, column = divmod(int(scores.argmax()), len(reactants))
        mapping[row] = column
        scores[row], scores[:, column] = -1, -1
    assert [mapping[row] for row in range(len(products))] == MAPPING


@torch.no_grad()
def test_the_masked_atom_is_found() -> None:
    model = AlbertForMaskedLM.from_pretrained(fetch("rxnmapper"))
    tokens, ids = reaction_tokens()
    place = tokens.index("S")
    sulphur = int(ids[0, place])
    ids[0, place] = (fetch("rxnmapper") / "vocab.txt").read_text("utf-8").splitlines().index("[MASK]")
    probabilities = model(ids).logits[0, place].softmax(-1)
    assert probabilities.argmax() == sulphur
    assert probabilities[sulphur] > 0.9


@torch.no_grad()
def test_japanese_words() -> None:
    """A character's class is 1 inside a word, and the part of speech plus 2 where one begins."""
    model = AlbertForMaskedLM.from_pretrained(fetch("unidic-imitator"))
    words: list[tuple[str, str]] = []
    for character, index in zip(SENTENCE, model(japanese_ids(model.config)).logits.argmax(-1)[0].tolist(), strict=True):
        if index == 1:
            words[-1] = (words[-1][0] + character, words[-1][1])
        else:
            words.append((character, model.config.parts_of_speech[index - 2]))
    assert " ".join("/".join(word) for word in words) == WORDS
