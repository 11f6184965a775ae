"""Packing: no token is lost, positions say where documents start, and a decoder keeps them apart."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from small_tokenizers import both, with_sentinels
from torch.utils.data import DataLoader

from minitransformers import GPT2Config, GPT2LMHeadModel, MinitransformersError, default_data_collator
from minitransformers.data import PackedDataset, concatenate_documents, restarting_positions
from minitransformers.nn.masks import documents_from_positions

END = 50
documents_of_ids = st.lists(st.lists(st.integers(0, 49), min_size=1, max_size=12), min_size=1, max_size=8)
block_sizes = st.integers(2, 20)


@given(documents=documents_of_ids, size=block_sizes, masked=st.booleans(), drop=st.booleans())
def test_no_token_is_lost(documents, size, masked, drop):
    whole = [token for document in documents for token in [*document, END]]
    if drop and len(whole) < size:
        return
    dataset = PackedDataset(documents, size, END, document_mask=masked, drop_last=drop)
    blocks = [dataset[index] for index in range(len(dataset))]
    packed = torch.cat([block["input_ids"] for block in blocks]).tolist()
    assert packed == (whole[: len(whole) // size * size] if drop else whole)
    assert all(len(block["input_ids"]) == size for block in blocks[:-1] + blocks * drop)
    assert [block["input_ids"].tolist() for block in dataset] == [block["input_ids"].tolist() for block in blocks]
    assert torch.equal(dataset[-1]["input_ids"], blocks[-1]["input_ids"])
    if not masked:
        assert all(torch.equal(block["labels"], block["input_ids"]) for block in blocks)
        assert all(set(block) == {"input_ids", "labels"} for block in blocks)


@given(documents=documents_of_ids, size=block_sizes)
def test_positions_say_where_documents_are(documents, size):
    """Read back as decoders do, they give the documents; labels at their starts are -100, the others are the ids."""
    number = [index for index, document in enumerate(documents) for _ in range(len(document) + 1)]
    dataset = PackedDataset(documents, size, END, document_mask=True)
    for index, block in enumerate(dataset):
        true = number[index * size : (index + 1) * size]
        read = documents_from_positions(block["position_ids"][None])[0].tolist()
        assert read == [one - true[0] for one in true]
        assert block["position_ids"].max() < size
        starts = [place == 0 or true[place] != true[place - 1] for place in range(len(true))]
        assert (block["position_ids"] == 0).tolist() == starts
        expected = [-100 if start else token for start, token in zip(starts, block["input_ids"].tolist(), strict=True)]
        assert block["labels"].tolist() == expected


def tiny_gpt2():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=END + 1, n_positions=32, n_embd=8, n_layer=2, n_head=2, initializer_range=0.5)
    return GPT2LMHeadModel(config).double().eval()


@given(documents=st.lists(st.lists(st.integers(0, 49), min_size=1, max_size=6), min_size=2, max_size=4))
def test_no_document_leaks_into_another(documents):
    """A block of several documents gives each the logits that it has alone, and the loss of all their predictions."""
    model = tiny_gpt2()
    dataset = PackedDataset(documents, 32, END, document_mask=True)
    (batch,) = DataLoader(dataset, batch_size=1, collate_fn=default_data_collator)
    together = model(**batch, use_cache=False)
    start, losses = 0, []
    for document in documents:
        ids = torch.tensor([[*document, END]])
        alone = model(ids, labels=ids)
        end = start + ids.shape[1]
        torch.testing.assert_close(together.logits[:, start:end], alone.logits, rtol=1e-9, atol=1e-9)
        losses.append(alone.loss * (ids.shape[1] - 1))
        start = end
    mean = torch.stack(losses).sum() / (start - len(documents))
    torch.testing.assert_close(together.loss, mean, rtol=1e-9, atol=1e-9)
    # The test can fail: with a cache, documents do leak, as in transformers.
    leaking = model(**batch, use_cache=True).logits[:, len(documents[0]) + 1 :]
    assert (leaking - together.logits[:, len(documents[0]) + 1 :]).abs().max() > 1e-3


def test_worked_example():
    dataset = PackedDataset([[1, 2, 3], [4], [5, 6, 7]], 4, 0, document_mask=True)
    assert [block["input_ids"].tolist() for block in dataset] == [[1, 2, 3, 0], [4, 0, 5, 6], [7, 0]]
    assert [block["position_ids"].tolist() for block in dataset] == [[0, 1, 2, 3], [0, 1, 0, 1], [0, 1]]
    assert [block["labels"].tolist() for block in dataset] == [[-100, 2, 3, 0], [-100, 0, -100, 6], [-100, 0]]
    assert PackedDataset([[1, 0], [2, 0]], 4, None)[0]["input_ids"].tolist() == [1, 0, 2, 0]
    assert concatenate_documents([[1], torch.tensor([2, 3])], 9).starts.tolist() == [0, 2]
    assert restarting_positions(torch.tensor([0, 3]), 7, 5).tolist() == [0, 1, 2, 0, 1, 0, 1]


def test_from_texts():
    tokenizer = with_sentinels()
    dataset = PackedDataset.from_texts(["the cat", "a dog"], tokenizer, 4)
    assert tokenizer.decode(dataset.input_ids) == "the cat </s> a dog </s>"


def test_labels_are_not_the_ids_themselves():
    """Who changes the labels of a block does not change its text."""
    dataset = PackedDataset([[1, 2, 3]], 4, 0)
    dataset[0]["labels"][:] = -100
    assert dataset[0]["input_ids"].tolist() == [1, 2, 3, 0]


BAD = {
    "longer than the corpus": (
        lambda: PackedDataset([[1, 2]], 4, 0, drop_last=True),
        "block_size=4 is more than the 3 tokens.*smaller block_size or drop_last=False",
    ),
    "no documents": (lambda: PackedDataset([], 4, 0), "documents is empty: there is nothing to pack"),
    "an empty document": (lambda: PackedDataset([[1], []], 4, 0), r"documents\[1\] is empty: leave"),
    "text": (lambda: PackedDataset(["abc"], 4, 0), r"documents\[0\] must be one sequence of ids"),
    "numbers with a fraction": (lambda: PackedDataset([[0.5]], 4, 0), r"documents\[0\] must be one sequence of ids"),
    "a block of one": (lambda: PackedDataset([[1]], 1, 0), "block_size=1 must be a whole number of at least 2"),
    "no end of text": (lambda: PackedDataset.from_texts(["a"], both()[0], 4), "has no eos_token, which stands behind"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=f"(?s){message}") as caught:
        call()
    assert isinstance(caught.value, MinitransformersError)


def test_an_index_out_of_range():
    with pytest.raises(IndexError, match="index 1 is out of range for 1 blocks"):
        PackedDataset([[1]], 4, 0)[1]
