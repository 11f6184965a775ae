"""Parts of a corpus, and blocks in which documents are kept apart."""

from __future__ import annotations

import itertools
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from corpora import BPE, SENTENCES, joined, make
from hypothesis import given, strategies as st
from torch.utils.data import DataLoader

from minitransformers import GPT2Config, GPT2LMHeadModel, InputError
from minitransformers.data import PackedDataset, TokenCorpus, TokenShard, write_shard
from minitransformers.data.corpus import write_manifest
from minitransformers.errors import CorpusError
from minitransformers.nn.masks import documents_from_positions

VOCAB_SIZE = 50


def written(shards, directory):
    """A corpus of these shards, each a list of documents of ids."""
    entries = []
    for number, documents in enumerate(shards):
        header = write_shard(f"{directory}/{number}.tokens", documents, VOCAB_SIZE)
        entries.append(
            {"file": f"{number}.tokens", "tokens": header.tokens, "documents": header.documents}
            | {"sha256": header.sha256.hex(), "text_sha256": "0"}
        )
    write_manifest(Path(directory, "corpus.json"), {"vocab_size": VOCAB_SIZE}, entries)
    return TokenCorpus(directory)


ids = st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=9)
shards_of_ids = st.lists(st.lists(ids, min_size=1, max_size=6), min_size=1, max_size=3).filter(
    lambda shards: sum(map(len, shards)) > 1
)


@given(shards=shards_of_ids, share=st.floats(0.01, 0.99), seed=st.integers(0, 5), data=st.data())
def test_a_split_is_a_partition_that_can_be_read_like_a_corpus(shards, share, seed, data):
    documents = joined(shards)
    if round(share * len(documents)) == len(documents):
        return
    with tempfile.TemporaryDirectory() as directory:
        corpus = written(shards, directory)
        parts = corpus.split(share, seed=seed)
        assert sorted([*parts.train.indices, *parts.validation.indices]) == list(range(len(documents)))
        assert len(parts.validation.indices) == max(1, round(share * len(documents)))
        again = corpus.split(share, seed=seed)
        assert np.array_equal(again.validation.indices, parts.validation.indices)
        for part in parts:
            own = [documents[index] for index in part.indices]
            assert [document.tolist() for document in part.documents] == own
            assert part.document_lengths().tolist() == [len(document) for document in own]
            flat = joined(own)
            assert len(part) == len(flat)
            assert part[:].tolist() == flat
            start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(flat))] * 2)))
            assert part[start:stop].tolist() == flat[start:stop]
            assert part[start:stop:-1].tolist() == flat[start:stop:-1]
            if len(own) > 1:  # a part of a part
                halves = part.split(0.5, seed=1)
                assert [one.tolist() for one in halves.train.documents] == [own[i] for i in halves.train.indices]


def test_other_seeds_give_other_parts(tmp_path):
    corpus = written([[[number] for number in range(40)]], tmp_path)
    chosen = [corpus.split(0.25, seed=seed).validation[:].tolist() for seed in range(20)]
    assert len({tuple(one) for one in chosen}) == 20
    # Each document is held out about as often as any other: 20 * 0.25 = 5 times, with a deviation of 1.9.
    assert np.bincount(joined(chosen), minlength=40).max() < 5 + 5 * 1.94


@given(shards=shards_of_ids, length=st.integers(1, 12), stride=st.integers(1, 12), split=st.booleans())
def test_positions_restart_with_documents(shards, length, stride, split):
    """Read as decoders do, positions give the document of each token. Without overlap, as packing in memory."""
    with tempfile.TemporaryDirectory() as directory:
        corpus = written(shards, directory)
        part = corpus.split(0.3).train if split and len(corpus.documents) > 1 else corpus
        if len(part) < length:
            return
        owners = np.repeat(np.arange(len(part.documents)), part.document_lengths())
        blocks = part.blocks(length, stride, document_mask=True)
        assert len(blocks) == len(part.blocks(length, stride))
        for index, block in enumerate(blocks):
            own = owners[index * stride : index * stride + length]
            read = documents_from_positions(block["position_ids"][None])[0]
            assert read.tolist() == np.cumsum(np.diff(own, prepend=own[0]) != 0).tolist()
            first = block["position_ids"] == 0
            assert torch.equal(block["labels"], block["input_ids"].masked_fill(first, -100))
            assert torch.equal(block["input_ids"], part.blocks(length, stride)[index]["input_ids"])
        if length > 1:
            full = [document.tolist() for document in part.documents if len(document)]
            packed = PackedDataset(full, length, None, document_mask=True, drop_last=True)
            for ours, theirs in zip(part.blocks(length, document_mask=True), packed, strict=True):
                assert {name: value.tolist() for name, value in ours.items()} == {
                    name: value.tolist() for name, value in theirs.items()
                }


def test_a_document_in_a_block_has_the_logits_that_it_has_alone(tmp_path):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(BPE), n_positions=64, n_embd=8, n_layer=2, n_head=2, initializer_range=0.5)
    model = GPT2LMHeadModel(config).double().eval()
    train = make(SENTENCES * 2, tmp_path / "corpus", append_eos=True, shard_tokens=40).split(0.2).train
    blocks = train.blocks(48, document_mask=True)
    (batch, *_) = DataLoader(blocks, batch_size=len(blocks))
    together = model(**batch, use_cache=False).logits
    compared = 0
    for row, positions, logits in zip(batch["input_ids"], batch["position_ids"], together, strict=True):
        starts = [*(positions == 0).nonzero()[:, 0].tolist(), len(row)]
        for start, end in itertools.pairwise(starts):
            alone = model(row[None, start:end]).logits[0]
            torch.testing.assert_close(logits[start:end], alone, rtol=1e-9, atol=1e-9)
            compared += 1
    assert compared > len(blocks)
    plain = model(batch["input_ids"], use_cache=False).logits  # the test can fail: without positions, documents mix
    assert (plain - together).abs().max() > 1e-3


def test_workers_read_parts(tmp_path):
    part = make(SENTENCES * 5, tmp_path / "corpus", shard_tokens=50).split(0.5, seed=3).train
    blocks = pickle.loads(pickle.dumps(part.blocks(8, document_mask=True)))
    loaded = torch.cat([batch["position_ids"] for batch in DataLoader(blocks, batch_size=4, num_workers=1)])
    assert torch.equal(loaded, torch.stack([block["position_ids"] for block in part.blocks(8, document_mask=True)]))


def test_bad_shares(tmp_path):
    corpus = written([[[1], [2], [3]]], tmp_path)
    for share in (0, 1, True, "5%", 1.5):
        with pytest.raises(InputError, match=f"validation={share!r} must be a share of the documents between 0 and 1"):
            corpus.split(share)
    with pytest.raises(InputError, match=r"validation=0\.9 of 3 documents leaves none for training: take a smaller"):
        corpus.split(0.9)
    with pytest.raises(InputError, match="seed=-1 must be a whole number of at least 0"):
        corpus.split(seed=-1)


def test_a_damaged_index(tmp_path):
    """Without checksums a wrong index is found where it is used."""
    corpus = written([[[1, 2], [3, 4], [5, 6]]], tmp_path)
    path = corpus.shards[0].path
    data = bytearray(path.read_bytes())
    data[TokenShard(path).header.index_start + 8] = 5  # document 1 begins at 5, document 2 at 4
    path.write_bytes(data)
    damaged = TokenCorpus(tmp_path, verify=False)
    with pytest.raises(CorpusError, match="is damaged: its index of documents doesn't fit"):
        damaged.split(0.4)
    with pytest.raises(CorpusError, match="is damaged: its index of documents doesn't rise"):
        damaged.blocks(6, document_mask=True)[0]
