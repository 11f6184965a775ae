"""Judges exercise 22: first on a tiny model with random weights, then on the real one."""

import tempfile

import pieces
import pytest
import torch

from minitransformers import BertConfig, BertModel
from minitransformers.assets import fetch_if_reachable

SENTENCES = ["A man is eating food.", "Someone eats a meal.", "The stock market fell today."]


def test_a_tiny_checkpoint_gives_the_numbers_of_the_library():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=12,
    )
    library = BertModel(config).eval()
    with torch.no_grad():
        for parameter in library.parameters():
            parameter.normal_(std=0.3)
    ids = torch.tensor([[2, 7, 9, 3, 0], [2, 5, 3, 0, 0]])
    mask = (ids != 0).long()
    with tempfile.TemporaryDirectory() as directory:
        library.save_pretrained(directory)
        yours = pieces.load(directory)
    with torch.no_grad():
        ours, theirs = yours(ids, mask), library(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(ours[mask.bool()], theirs[mask.bool()], rtol=1e-4, atol=1e-4)


def test_minilm_gives_its_known_answers():
    encode, load, sentence_vectors = pieces.encode, pieces.load, pieces.sentence_vectors
    directory = fetch_if_reachable("minilm")
    if directory is None:
        pytest.skip("MiniLM cannot be downloaded here: connect to the network once; the files are kept.")
    lines = (directory / "vocab.txt").read_text(encoding="utf-8").splitlines()
    vocabulary = {piece: index for index, piece in enumerate(lines)}
    ids = encode(SENTENCES[0], vocabulary)
    assert ids == [101, 1037, 2158, 2003, 5983, 2833, 1012, 102]
    model = load(directory)
    with torch.no_grad():
        output = model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long))
    known = torch.tensor([-0.0025505, 0.1176973, 0.0037379, 0.2447082])
    torch.testing.assert_close(output[0, 0, :4], known, rtol=0, atol=2e-5)
    food, meal, market = sentence_vectors(model, SENTENCES, vocabulary)
    assert abs(float(food @ meal) - 0.761) < 1e-3
    assert abs(float(food @ market) + 0.017) < 1e-3
