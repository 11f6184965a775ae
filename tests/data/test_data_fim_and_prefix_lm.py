"""Fill-in-the-middle and prefix language modelling: pieces give the document back; masks and labels by hand."""

from __future__ import annotations

import pytest
import torch
from corpora import BPE as PLAIN
from hypothesis import given, strategies as st
from small_tokenizers import both

from minitransformers import GPT2Config, GPT2LMHeadModel, InputError, PreTrainedTokenizerFast
from minitransformers.data import DataCollatorForFillInTheMiddle, DataCollatorForPrefixLM, restore_middle

SPECIAL = ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"]
BPE = PreTrainedTokenizerFast(tokenizer_object=PLAIN.backend_tokenizer, eos_token="<|endoftext|>", pad_token="<pad>")
BPE.add_special_tokens({"additional_special_tokens": SPECIAL})
PRE, SUF, MID = BPE.convert_tokens_to_ids(SPECIAL)
END, PAD = BPE.eos_token_id, BPE.pad_token_id
rates = st.sampled_from([0.0, 0.5, 1.0])
texts = st.lists(st.text("the cat é東🙂\n", max_size=12), min_size=1, max_size=4)


@given(texts=texts, rate=rates, suffix_first=rates, seed=st.integers(0, 99))
def test_pieces_put_back_give_the_text(texts, rate, suffix_first, seed):
    collator = DataCollatorForFillInTheMiddle(BPE, rate, suffix_first, seed=seed)
    batch = collator(texts)
    for text, row, real, labels in zip(
        texts, batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True
    ):
        ids = row[real.bool()]
        assert ids[-1] == END
        assert BPE.decode(restore_middle(ids[:-1], collator.tokens)) == text
        assert torch.equal(labels, row.masked_fill(real == 0, -100))
        if rate == 0:
            assert ids[:-1].tolist() == BPE(text)["input_ids"]
        if rate == 1:
            assert ids[0] == PRE
            if suffix_first == 1:
                assert ids[1] == SUF


@given(
    rows=st.lists(st.lists(st.integers(0, 200), min_size=1, max_size=9), min_size=1, max_size=4),
    suffix_first=rates,
    ends=st.booleans(),
)
def test_pieces_put_back_give_the_tokens(rows, suffix_first, ends):
    rows = [[token for token in row if token not in (END, PAD)] for row in rows]
    collator = DataCollatorForFillInTheMiddle(BPE, 1.0, suffix_first, level="token", seed=1, append_eos=ends)
    batch = collator([{"input_ids": [*row, *([END] if ends else [])]} for row in rows])
    for row, ids, real in zip(rows, batch["input_ids"], batch["attention_mask"], strict=True):
        arranged = ids[real.bool()].tolist()
        assert len(arranged) == len(row) + 3 + ends
        kept = torch.tensor(arranged[:-1] if ends else arranged)
        assert restore_middle(kept, collator.tokens).tolist() == row


def test_rates_and_places():
    """Of 800 documents: 0.7 rearranged, of these 0.25 SPM; the first cut is the smaller of two uniform numbers."""
    collator = DataCollatorForFillInTheMiddle(BPE, 0.7, 0.25, level="token", seed=0, append_eos=False)
    document = torch.arange(9)
    rows = [collator.rearrange(document).tolist() for _ in range(800)]
    rearranged = [row for row in rows if row[0] == PRE]
    assert abs(len(rearranged) - 560) < 5 * 13  # five standard deviations
    # A PSM has <SUF> in place 1 where its prefix is empty: 1 - (9/10)² of all.
    in_place_1 = sum(row[1] == SUF for row in rearranged) / len(rearranged)
    expected = 0.25 + 0.75 * 0.19
    assert abs(in_place_1 - expected) < 5 * (expected * (1 - expected) / len(rearranged)) ** 0.5


def test_middle_by_hand():
    collator = DataCollatorForFillInTheMiddle(BPE, level="token")
    for row in ([PRE, 1, 2, SUF, 5, MID, 3, 4], [PRE, SUF, 5, MID, 1, 2, 3, 4], [1, 2, 3, 4, 5]):
        assert restore_middle(torch.tensor(row), collator.tokens).tolist() == [1, 2, 3, 4, 5]
    for row in ([PRE, 1, MID, 2, SUF], [1, PRE, SUF, MID], [PRE, 1], [PRE, SUF, SUF, MID]):
        with pytest.raises(InputError, match="must begin with <PRE>, and have one <SUF>"):
            restore_middle(torch.tensor(row), collator.tokens)


def test_a_prefix_by_hand():
    batch = DataCollatorForPrefixLM(both()[0])(
        [{"input_ids": [7, 8, 9, 10], "prefix_length": 2}, {"input_ids": [7, 8, 9], "prefix_length": 1}]
    )
    o, x = False, True
    assert batch["attention_mask"].tolist() == [
        [[[x, x, o, o], [x, x, o, o], [x, x, x, o], [x, x, x, x]]],
        [[[x, o, o, o], [x, x, o, o], [x, x, x, o], [x, x, x, o]]],
    ]
    assert batch["labels"].tolist() == [[-100, -100, 9, 10], [-100, 8, 9, -100]]
    left = DataCollatorForPrefixLM(both("left")[0])([{"input_ids": [7, 8, 9], "prefix_length": 2}, [1] * 4])
    assert left["attention_mask"][0, 0, 1:].tolist() == [[o, x, x, o], [o, x, x, o], [o, x, x, x]]
    assert left["labels"][0].tolist() == [-100, -100, -100, 9]


def test_prefixes_are_read_in_both_directions():
    """The loss is that of the rest alone, and no token of it is seen before it is predicted."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=60, n_positions=16, n_embd=8, n_layer=2, n_head=2, initializer_range=0.5)
    model = GPT2LMHeadModel(config).double().eval()
    ids = torch.randint(5, 60, (6,))
    batch = DataCollatorForPrefixLM(both()[0])([{"input_ids": ids, "prefix_length": 3}])
    out = model(**batch, use_cache=False)
    by_hand = torch.nn.functional.cross_entropy(out.logits[0, 2:5], ids[3:])
    torch.testing.assert_close(out.loss, by_hand, rtol=1e-9, atol=1e-9)
    for changed, sees_from in ((2, 0), (3, 3), (4, 4)):
        other = ids.clone()
        other[changed] = 5 + (ids[changed] - 4) % 55
        moved = (model(other[None], attention_mask=batch["attention_mask"]).logits - out.logits).abs().amax(-1)[0]
        assert (moved > 1e-6).tolist() == [place >= sees_from for place in range(6)]


def test_prefix_lengths_are_uniform():
    collator = DataCollatorForPrefixLM(both()[0], seed=0)
    labels = collator([list(range(5, 10))] * 2000)["labels"]
    counts = torch.bincount((labels == -100).sum(1), minlength=5)
    assert counts[0] == 0
    assert ((counts[1:] - 500).abs() < 5 * 19.4).all()  # five standard deviations


BAD = {
    "a rate": (lambda: DataCollatorForFillInTheMiddle(BPE, 1.5), "rate=1.5 must be"),
    "a level": (lambda: DataCollatorForFillInTheMiddle(BPE, level="tokens"), "level='tokens' must be 'character' or"),
    "no such token": (lambda: DataCollatorForFillInTheMiddle(both()[0]), "no token prefix_token='<fim_prefix>'. Add"),
    "ids for texts": (lambda: DataCollatorForFillInTheMiddle(BPE)([[1, 2]]), r"features\[0\] has no text"),
    "a text for ids": (lambda: DataCollatorForFillInTheMiddle(BPE, level="token")(["a"]), "is a text, but level='tok"),
    "one token": (lambda: DataCollatorForPrefixLM(both()[0])([[5]]), r"features\[0\] has 1 tokens; a prefix LM needs"),
    "no rest": (
        lambda: DataCollatorForPrefixLM(both()[0])([{"input_ids": [5, 6], "prefix_length": 2}]),
        "prefix_length=2; it must be from 1 to 1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_pieces(case):
    call, message = BAD[case]
    with pytest.raises(InputError, match=message):
        call()
