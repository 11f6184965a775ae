"""Masking for masked language models as learners write it."""

import torch


def _mask(ids, special, mask_id, size, share=0.15, masked=0.8, randoms=0.1):
    """Right; the wrong ones pass other shares or change what it returns."""
    labels, ids = ids.clone(), ids.clone()
    chosen = (torch.rand(ids.shape) < share) & ~special.bool()
    labels[~chosen] = -100
    dice = torch.rand(ids.shape)
    ids[chosen & (dice < masked)] = mask_id
    swap = chosen & (dice >= masked) & (dice < masked + randoms)
    ids[swap] = torch.randint(size, ids.shape)[swap]
    return ids, labels


def right(input_ids, special_tokens_mask, mask_token_id, vocab_size):
    return _mask(input_ids, special_tokens_mask, mask_token_id, vocab_size)


def right_with_generator(ids, special, mask_id, vocab_size, generator=None):
    chances = torch.full(ids.shape, 0.15).masked_fill(special, 0.0)
    selected = torch.bernoulli(chances, generator=generator).bool()
    labels = torch.where(selected, ids, -100)
    replaced = torch.bernoulli(torch.full(ids.shape, 0.8), generator=generator).bool() & selected
    random = torch.bernoulli(torch.full(ids.shape, 0.5), generator=generator).bool() & selected & ~replaced
    words = torch.randint(vocab_size, ids.shape, generator=generator)
    return torch.where(replaced, mask_id, torch.where(random, words, ids)), labels


def of_all_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size):
    ids, labels = input_ids.clone(), input_ids.clone()
    chosen = (torch.rand(ids.shape) < 0.15) & ~special_tokens_mask
    labels[~chosen] = -100
    dice = torch.rand(ids.shape)
    ids[(dice < 0.8) & ~special_tokens_mask] = mask_token_id
    swap = (dice >= 0.8) & (dice < 0.9) & ~special_tokens_mask
    ids[swap] = torch.randint(vocab_size, ids.shape)[swap]
    return ids, labels


def always_mask(ids, special, mask_id, vocab_size):
    return _mask(ids, special, mask_id, vocab_size, masked=1.0, randoms=0.0)


def never_random(ids, special, mask_id, vocab_size):
    return _mask(ids, special, mask_id, vocab_size, masked=0.9, randoms=0.0)


def never_unchanged(ids, special, mask_id, vocab_size):
    return _mask(ids, special, mask_id, vocab_size, masked=0.8, randoms=0.2)


def tenth_of_the_rest(ids, special, mask_id, vocab_size):
    return _mask(ids, special, mask_id, vocab_size, masked=0.8, randoms=0.02)


def shares_swapped(ids, special, mask_id, vocab_size):
    return _mask(ids, special, mask_id, vocab_size, masked=0.1, randoms=0.1)


def specials_too(ids, special, mask_id, vocab_size):
    return _mask(ids, torch.zeros_like(special), mask_id, vocab_size)


def all_labels(ids, special, mask_id, vocab_size):
    return _mask(ids, special, mask_id, vocab_size)[0], ids.clone()


def labels_too_late(ids, special, mask_id, vocab_size):
    masked, labels = _mask(ids, special, mask_id, vocab_size)
    return masked, torch.where(labels != -100, masked, -100)


def labels_of_the_others(ids, special, mask_id, vocab_size):
    masked, labels = _mask(ids, special, mask_id, vocab_size)
    return masked, torch.where(labels == -100, ids, -100)


def labels_of_masks_only(ids, special, mask_id, vocab_size):
    masked, labels = _mask(ids, special, mask_id, vocab_size)
    return masked, torch.where(masked == mask_id, labels, -100)


def labels_of_changed_only(ids, special, mask_id, vocab_size):
    draw = torch.rand(ids.shape)
    masked = (draw < 0.12) & ~special
    swapped = (draw >= 0.12) & (draw < 0.135) & ~special
    output = ids.masked_fill(masked, mask_id)
    output[swapped] = torch.randint(vocab_size, ids.shape)[swapped]
    return output, torch.where(masked | swapped, ids, -100)


def labels_shifted(ids, special, mask_id, vocab_size):
    masked, labels = _mask(ids, special, mask_id, vocab_size)
    return masked, labels.roll(-1, dims=1)


def zero_is_ignored(ids, special, mask_id, vocab_size):
    masked, labels = _mask(ids, special, mask_id, vocab_size)
    return masked, labels.masked_fill(labels == -100, 0)


def ten_percent(ids, special, mask_id, vocab_size):
    return _mask(ids, special, mask_id, vocab_size, share=0.1)


def eighty_percent(ids, special, mask_id, vocab_size):
    return _mask(ids, special, mask_id, vocab_size, share=0.8)


def one_random_token(ids, special, mask_id, vocab_size):
    masked, labels = ids.clone(), ids.clone()
    chosen = (torch.rand(ids.shape) < 0.15) & ~special
    labels[~chosen] = -100
    dice = torch.rand(ids.shape)
    masked[chosen & (dice < 0.8)] = mask_id
    masked[chosen & (dice >= 0.8) & (dice < 0.9)] = torch.randint(vocab_size, ()).item()
    return masked, labels


def same_places(ids, special, mask_id, vocab_size):
    masked, labels = ids.clone(), ids.clone()
    chosen = (torch.rand(ids.shape[1]) < 0.15) & ~special
    labels[~chosen] = -100
    dice = torch.rand(ids.shape)
    masked[chosen & (dice < 0.8)] = mask_id
    swap = chosen & (dice >= 0.8) & (dice < 0.9)
    masked[swap] = torch.randint(vocab_size, ids.shape)[swap]
    return masked, labels


def in_place(ids, special, mask_id, vocab_size):
    masked, labels = _mask(ids, special, mask_id, vocab_size)
    ids.copy_(masked)
    return ids, labels


WRONG = [
    (of_all_tokens, "80/10/10 of all tokens, not of the selected ones"),
    (always_mask, "every selected token becomes [MASK]"),
    (never_random, "no selected token becomes a random one"),
    (never_unchanged, "no selected token stays unchanged"),
    (tenth_of_the_rest, "10 % of what [MASK] left"),
    (shares_swapped, "80 % of the selected tokens stay unchanged"),
    (specials_too, "special tokens are selected too"),
    (all_labels, "labels are given for all tokens"),
    (labels_too_late, "after the tokens were replaced"),
    (labels_of_the_others, "labels are given where nothing was selected"),
    (labels_of_masks_only, "only where the token became [MASK]"),
    (labels_of_changed_only, "labels are missing where a selected token stays unchanged"),
    (labels_shifted, "labels are shifted"),
    (zero_is_ignored, "have the label 0, not −100"),
    (ten_percent, "10 % of the tokens are selected"),
    (eighty_percent, "80 % of the tokens are selected"),
    (one_random_token, "all random tokens are the same one"),
    (same_places, "the same positions are selected in every text"),
    (in_place, "the input is changed in place"),
]
RIGHT = [right, right_with_generator]
