"""Masking: the counts of selected and replaced tokens, special tokens, whole words."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from small_tokenizers import FIRST, MASK, VOCAB_SIZE, both, chi_square_p

from minitransformers import DataCollatorForLanguageModeling
from minitransformers.data import replace_tokens, select_tokens, words_from_offsets
from minitransformers.errors import InputError

SPECIAL = torch.arange(FIRST)
seeds = st.integers(0, 2**32)
probabilities = st.floats(0, 1)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def batches(draw):
    """Ids with special ones anywhere, and a mask with padding on the right."""
    rows, length = draw(st.integers(1, 6)), draw(st.integers(1, 20))
    ids = torch.randint(VOCAB_SIZE, (rows, length), generator=generator(draw(seeds)))
    lengths = torch.tensor(draw(st.lists(st.integers(0, length), min_size=rows, max_size=rows)))
    attention_mask = (torch.arange(length) < lengths[:, None]).long()
    return ids, attention_mask


@st.composite
def settings_of_masking(draw):
    masked = draw(probabilities)
    return {
        "mlm_probability": draw(probabilities),
        "mask_replace_prob": masked,
        "random_replace_prob": draw(st.floats(0, 1)) * (1 - masked),
        "at_least_one": draw(st.booleans()),
    }


def mask_tokens(ids, special_tokens_mask, options, seed):
    """The input and the labels that the collator makes."""
    collator = DataCollatorForLanguageModeling(both()[0], seed=seed, **options)
    return collator.torch_mask_tokens(ids, special_tokens_mask)


def maskable_tokens(batch):
    ids, attention_mask = batch
    return ~torch.isin(ids, SPECIAL) & attention_mask.bool()


@given(batch=batches(), options=settings_of_masking(), seed=seeds)
def test_laws_of_masking(batch, options, seed):
    """Labels only at selected tokens; no special token is selected or drawn; the same seed gives the same result."""
    ids, attention_mask = batch
    copy = ids.clone()
    shown, labels = mask_tokens(ids, 1 - attention_mask, options, seed)
    assert torch.equal(ids, copy)

    selected = labels != -100
    assert torch.equal(labels[selected], ids[selected])
    assert torch.equal(shown[~selected], ids[~selected])
    assert not selected[torch.isin(ids, SPECIAL)].any()
    assert not selected[attention_mask == 0].any()
    assert not torch.isin(shown[selected], SPECIAL[SPECIAL != MASK]).any()
    if options["at_least_one"]:
        assert torch.equal(selected.any(1), maskable_tokens(batch).any(1))

    again = mask_tokens(ids, 1 - attention_mask, options, seed)
    assert torch.equal(again[0], shown)
    assert torch.equal(again[1], labels)


@given(batch=batches(), probability=probabilities, seed=seeds)
def test_at_least_one_adds_one_to_rows_without_a_selected_token(batch, probability, seed):
    """It changes nothing in other rows."""
    maskable = maskable_tokens(batch)
    by_chance = select_tokens(maskable, probability, generator=generator(seed))
    selected = select_tokens(maskable, probability, at_least_one=True, generator=generator(seed))
    some = by_chance.any(1)
    assert torch.equal(selected[some], by_chance[some])
    assert torch.equal(selected[~some].sum(1), maskable[~some].any(1).long())
    assert not (selected & ~maskable).any()


@pytest.mark.parametrize("given_mask", [None, "all", "none"])
def test_special_tokens_are_never_selected_for_any_mask(given_mask):
    ids = torch.tensor([[2, 7, 1, 8, 3, 0]])
    mask = None if given_mask is None else torch.full_like(ids, given_mask == "all")
    expected = [[False, True, False, True, False, False]] if given_mask != "all" else [[False] * 6]
    labels = mask_tokens(ids, mask, {"mlm_probability": 1.0}, seed=0)[1]
    assert (labels != -100).tolist() == expected


@pytest.mark.parametrize(("rate", "masked", "random"), [(0.15, 0.8, 0.1), (0.4, 0.5, 0.4), (0.3, 0.0, 1.0)])
def test_shares(rate, masked, random):
    """15 % selected; 80/10/10 of them masked, random, unchanged: Pearson's test on 200,000 tokens."""
    ids = torch.randint(FIRST, VOCAB_SIZE, (500, 400), generator=generator(1))
    options = {"mlm_probability": rate, "mask_replace_prob": masked, "random_replace_prob": random}
    shown, labels = mask_tokens(ids, None, options, seed=2)
    selected = labels != -100
    number = int(selected.sum())
    assert chi_square_p([number, ids.numel() - number], [ids.numel() * rate, ids.numel() * (1 - rate)]) > 0.001

    # A random token equals the token itself once in as many draws as there are ordinary tokens.
    ordinary = VOCAB_SIZE - FIRST
    changed = int((selected & (shown != ids) & (shown != MASK)).sum())
    counts = [int((selected & (shown == MASK)).sum()), changed]
    shares = [masked, random * (ordinary - 1) / ordinary]
    counts, shares = [*counts, number - sum(counts)], [*shares, 1 - sum(shares)]
    assert chi_square_p(*zip(*[(c, number * s) for c, s in zip(counts, shares, strict=True) if s], strict=True)) > 0.001


def test_random_tokens_are_uniform_over_ordinary_tokens():
    """Also those drawn again in place of special tokens: 30 of 40 ids are special here."""
    special = torch.arange(30)
    ids = torch.full((200, 300), 39)
    shown = replace_tokens(
        ids,
        torch.ones_like(ids, dtype=torch.bool),
        mask_token_id=MASK,
        vocab_size=40,
        special_ids=special,
        mask_replace_prob=0.0,
        random_replace_prob=1.0,
        generator=generator(3),
    )
    counts = shown.flatten().bincount(minlength=40)
    assert counts[:30].sum() == 0
    assert chi_square_p(counts[30:], torch.full((10,), ids.numel() / 10)) > 0.001


def test_drawing_again_does_not_move_the_generator():
    """The next batch has the same draws as in transformers."""
    ids = torch.full((20, 20), 39)
    states = []
    for special in (torch.arange(5), torch.arange(35)):
        source = generator(4)
        replace_tokens(
            ids,
            torch.ones_like(ids, dtype=torch.bool),
            mask_token_id=MASK,
            vocab_size=40,
            special_ids=special,
            generator=source,
        )
        states.append(source.get_state())
    assert torch.equal(*states)


def test_a_vocabulary_of_special_tokens():
    ids = torch.zeros(5, 5, dtype=torch.long)
    with pytest.raises(InputError, match=r"All 5 tokens of the vocabulary are special.*random_replace_prob=0.0"):
        replace_tokens(
            ids,
            torch.ones_like(ids, dtype=torch.bool),
            mask_token_id=MASK,
            vocab_size=5,
            special_ids=SPECIAL,
            random_replace_prob=0.2,
        )


@st.composite
def words(draw):
    """Random starts of words in rows of tokens, and the tokens that are not special."""
    length = draw(st.integers(1, 16))
    starts, special = [], []
    for _ in range(draw(st.integers(1, 4))):
        starts.append(draw(st.lists(st.booleans(), min_size=length, max_size=length)))
        special.append(draw(st.lists(st.sampled_from([False, False, False, True]), min_size=length, max_size=length)))
    return torch.tensor(starts), ~torch.tensor(special)


def naive_words(starts, maskable):
    """The words as lists of positions, found token by token."""
    rows = []
    for row_starts, row_maskable in zip(starts.tolist(), maskable.tolist(), strict=True):
        found: list[list[int]] = []
        before = False
        for place, (start, may) in enumerate(zip(row_starts, row_maskable, strict=True)):
            if may and before and not start:
                found[-1].append(place)
            elif may:
                found.append([place])
            before = may
        rows.append(found)
    return rows


@given(case=words(), probability=probabilities, seed=seeds, at_least_one=st.booleans())
def test_words_are_selected_whole(case, probability, seed, at_least_one):
    starts, maskable = case
    # A token that starts a word has a space before it; a special token has the offsets (0, 0), as in tokenizers.
    ends = (torch.arange(1, starts.shape[1] + 1) * 3 + starts.cumsum(1)) * maskable
    offsets = torch.stack([(ends - 3) * maskable, ends], dim=-1)
    word_ids = words_from_offsets(offsets, maskable)
    options = {"word_ids": word_ids, "at_least_one": at_least_one}
    selected = select_tokens(maskable, probability, **options, generator=generator(seed))
    assert not selected[~maskable].any()
    for row, (flags, found) in enumerate(zip(selected.tolist(), naive_words(starts, maskable), strict=True)):
        for number, word in enumerate(found):
            assert len({flags[place] for place in word}) == 1
            assert {int(word_ids[row, place]) for place in word} == {number}
        assert any(flags) or not (at_least_one and found)
    # A word shares the selection of its first token, which is the same if every token is a word.
    alone = select_tokens(maskable & (torch.arange(starts.shape[1]) == 0), probability, generator=generator(seed))
    if not at_least_one:
        assert torch.equal(selected[:, 0], alone[:, 0])


def test_words_are_selected_as_often_as_tokens():
    """Each word with the same probability, for any length: 100,000 words of 1 to 4 tokens."""
    word_ids = torch.arange(40_000).repeat_interleave(torch.arange(40_000) % 4 + 1).reshape(100, -1)
    selected = select_tokens(
        torch.ones_like(word_ids, dtype=torch.bool), 0.15, word_ids=word_ids, generator=generator(5)
    )
    first = torch.ones_like(selected)
    first[:, 1:] = word_ids[:, 1:] != word_ids[:, :-1]
    for size in range(1, 5):
        of_size = first & (word_ids % 4 + 1 == size)
        number, chosen = int(of_size.sum()), int((of_size & selected).sum())
        assert chi_square_p([chosen, number - chosen], [number * 0.15, number * 0.85]) > 0.001
