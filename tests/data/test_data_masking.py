"""Which tokens are selected and what is shown in their place: counts, special tokens, whole words."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from small_tokenizers import MASK, chi_square_p

from minitransformers.data import mask_tokens, maskable_tokens, replace_tokens, select_tokens, words_from_offsets
from minitransformers.errors import InputError

SPECIAL = torch.tensor([0, 1, 2, 3, 4])
VOCABULARY = 40
seeds = st.integers(0, 2**32)
probabilities = st.floats(0, 1)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def batches(draw):
    """Ids with special ones anywhere, and padding behind."""
    rows, length = draw(st.integers(1, 6)), draw(st.integers(1, 20))
    ids = torch.randint(VOCABULARY, (rows, length), generator=generator(draw(seeds)))
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


FIXED = {"mask_token_id": MASK, "vocab_size": VOCABULARY, "special_ids": SPECIAL}


@given(batch=batches(), options=settings_of_masking(), seed=seeds)
def test_laws_of_masking(batch, options, seed):
    """Labels where something was selected and nowhere else; no special token touched, none drawn; same seed, same."""
    ids, attention_mask = batch
    untouched = ids.clone()
    maskable = maskable_tokens(ids, SPECIAL, attention_mask=attention_mask)
    shown, labels = mask_tokens(ids, maskable, **FIXED, **options, generator=generator(seed))
    assert torch.equal(ids, untouched)

    selected = labels != -100
    assert torch.equal(labels[selected], ids[selected])
    assert torch.equal(shown[~selected], ids[~selected])
    assert not selected[torch.isin(ids, SPECIAL)].any()
    assert not selected[attention_mask == 0].any()
    assert not torch.isin(shown[selected], SPECIAL[SPECIAL != MASK]).any()
    if options["at_least_one"]:
        assert torch.equal(selected.any(1), maskable.any(1))

    again = mask_tokens(ids, maskable, **FIXED, **options, generator=generator(seed))
    assert torch.equal(again.input_ids, shown)
    assert torch.equal(again.labels, labels)


@given(batch=batches(), probability=probabilities, seed=seeds)
def test_at_least_one_adds_one_where_there_is_none(batch, probability, seed):
    """And changes nothing in rows where chance selected something."""
    maskable = maskable_tokens(batch[0], SPECIAL, attention_mask=batch[1])
    by_chance = select_tokens(maskable, probability, generator=generator(seed))
    selected = select_tokens(maskable, probability, at_least_one=True, generator=generator(seed))
    some = by_chance.any(1)
    assert torch.equal(selected[some], by_chance[some])
    assert torch.equal(selected[~some].sum(1), maskable[~some].any(1).long())
    assert not (selected & ~maskable).any()


@pytest.mark.parametrize("given_mask", [None, "all", "none"])
def test_special_tokens_are_not_maskable_whatever_the_mask_says(given_mask):
    ids = torch.tensor([[2, 7, 1, 8, 3, 0]])
    mask = None if given_mask is None else torch.full_like(ids, given_mask == "all")
    expected = [[False, True, False, True, False, False]] if given_mask != "all" else [[False] * 6]
    assert maskable_tokens(ids, SPECIAL, special_tokens_mask=mask).tolist() == expected


@pytest.mark.parametrize(("rate", "masked", "random"), [(0.15, 0.8, 0.1), (0.4, 0.5, 0.4), (0.3, 0.0, 1.0)])
def test_shares(rate, masked, random):
    """15 % selected; 80/10/10 of them masked, random, as they were: Pearson's test on 200,000 tokens."""
    ids = torch.randint(5, VOCABULARY, (500, 400), generator=generator(1))
    maskable = torch.ones_like(ids, dtype=torch.bool)
    options = {"mlm_probability": rate, "mask_replace_prob": masked, "random_replace_prob": random}
    shown, labels = mask_tokens(ids, maskable, **FIXED, **options, generator=generator(2))
    selected = labels != -100
    number = int(selected.sum())
    assert chi_square_p([number, ids.numel() - number], [ids.numel() * rate, ids.numel() * (1 - rate)]) > 0.001

    # A random token is the token itself once in as many draws as there are ordinary tokens.
    ordinary = VOCABULARY - len(SPECIAL)
    changed = int((selected & (shown != ids) & (shown != MASK)).sum())
    counts = [int((selected & (shown == MASK)).sum()), changed]
    shares = [masked, random * (ordinary - 1) / ordinary]
    counts, shares = [*counts, number - sum(counts)], [*shares, 1 - sum(shares)]
    assert chi_square_p(*zip(*[(c, number * s) for c, s in zip(counts, shares, strict=True) if s], strict=True)) > 0.001


def test_random_tokens_are_uniform_over_the_ordinary_ones():
    """Those drawn again in place of special ones too: 30 of 40 ids are special here."""
    special = torch.arange(30)
    ids = torch.full((200, 300), 39)
    shown = replace_tokens(
        ids,
        torch.ones_like(ids, dtype=torch.bool),
        mask_token_id=MASK,
        vocab_size=VOCABULARY,
        special_ids=special,
        mask_replace_prob=0.0,
        random_replace_prob=1.0,
        generator=generator(3),
    )
    counts = shown.flatten().bincount(minlength=VOCABULARY)
    assert counts[:30].sum() == 0
    assert chi_square_p(counts[30:], torch.full((10,), ids.numel() / 10)) > 0.001


def test_drawing_again_leaves_the_generator_where_it_was():
    """So that the next batch has the draws that it has in transformers."""
    ids = torch.full((20, 20), 39)
    states = []
    for special in (torch.arange(5), torch.arange(35)):
        source = generator(4)
        replace_tokens(
            ids,
            torch.ones_like(ids, dtype=torch.bool),
            mask_token_id=MASK,
            vocab_size=VOCABULARY,
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
    """Rows of words of one to four tokens, specials between some of them; the offsets in a text with spaces."""
    length = draw(st.integers(1, 16))
    starts, special = [], []
    for _ in range(draw(st.integers(1, 4))):
        starts.append(draw(st.lists(st.booleans(), min_size=length, max_size=length)))
        special.append(draw(st.lists(st.sampled_from([False, False, False, True]), min_size=length, max_size=length)))
    return torch.tensor(starts), ~torch.tensor(special)


def naive_words(starts, maskable):
    """The words as lists of positions, found one token after the other."""
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
    # A token that starts a word has a space before it; a special token stands nowhere, as in tokenizers.
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
    # A word has its first token's lot, the one that it has where every token is a word.
    alone = select_tokens(maskable & (torch.arange(starts.shape[1]) == 0), probability, generator=generator(seed))
    if not at_least_one:
        assert torch.equal(selected[:, 0], alone[:, 0])


def test_words_are_selected_as_often_as_tokens():
    """Each word with the same probability, however long: 100,000 words of 1 to 4 tokens."""
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
