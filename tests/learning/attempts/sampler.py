"""Filters and samplers as learners write them."""

import torch

INF = float("inf")


def multiplies(logits, temperature):
    return logits * temperature


def forgets_temperature(logits, temperature):
    return logits


def cools_probabilities(logits, temperature):
    return logits.softmax(-1) / temperature


def takes_the_best(logits, temperature):
    return logits.argmax(-1)


def k_plus_one(logits, k):
    best = torch.topk(logits, min(k + 1, logits.size(-1))).values[:, -1:]
    return logits.masked_fill(logits < best, -INF)


def k_minus_one(logits, k):
    best = logits.sort(descending=True).values[:, max(k - 2, 0)].unsqueeze(1)
    return logits.masked_fill(logits < best, -INF)


def k_smallest(logits, top_k):
    worst = logits.sort().values[:, top_k - 1 : top_k]
    return logits.masked_fill(logits > worst, -INF)


def k_with_zeros(logits, top_k):
    best = torch.topk(logits, top_k).values[:, -1:]
    return torch.where(logits >= best, logits, torch.zeros_like(logits))


def k_without_ties(logits, top_k):
    values, indices = torch.topk(logits, top_k)
    return torch.full_like(logits, -INF).scatter(1, indices, values)


def k_ignored(logits, top_k):
    return logits.softmax(-1)


def k_of_first_row(logits, top_k):
    keep = logits[0] >= torch.topk(logits[0], top_k).values[-1]
    return logits.masked_fill(~keep, -INF)


def p_drops_crossing(logits, top_p):
    values, order = logits.sort(descending=True)
    drop = values.softmax(-1).cumsum(-1) > top_p
    drop[:, 0] = False
    return logits.masked_fill(torch.zeros_like(drop).scatter(1, order, drop), -INF)


def p_keeps_one_more(logits, p):
    values, order = logits.sort(descending=True)
    reached = values.softmax(-1).cumsum(-1) >= p
    drop = torch.zeros_like(reached)
    drop[:, 2:] = reached[:, :-2]
    return logits.masked_fill(torch.zeros_like(drop).scatter(1, order, drop), -INF)


def p_ascending(logits, top_p):
    values, order = logits.sort(descending=False)
    mass = values.softmax(-1)
    drop = mass.cumsum(-1) - mass >= top_p
    drop[:, 0] = False
    return logits.masked_fill(torch.zeros_like(drop).scatter(1, order, drop), -INF)


def p_not_put_back(logits, top_p):
    mass = logits.softmax(-1).sort(descending=True).values
    drop = mass.cumsum(-1) - mass >= top_p
    return logits.masked_fill(drop, -INF)


def p_threshold(logits, top_p):
    probabilities = logits.softmax(-1)
    keep = probabilities >= top_p
    keep.scatter_(1, probabilities.argmax(-1, keepdim=True), True)
    return logits.masked_fill(~keep, -INF)


def p_over_rows(logits, top_p):
    values, order = logits.sort(descending=True)
    mass = values.softmax(-1)
    drop = mass.cumsum(0) - mass >= top_p
    drop[:, 0] = False
    return logits.masked_fill(torch.zeros_like(drop).scatter(1, order, drop), -INF)


def p_without_sorting(logits, top_p):
    mass = logits.softmax(-1)
    drop = mass.cumsum(-1) - mass >= top_p
    drop[:, 0] = False
    return logits.masked_fill(drop, -INF)


def p_of_logits(logits, top_p):
    values, order = logits.sort(descending=True)
    drop = values.cumsum(-1) - values >= top_p
    drop[:, 0] = False
    return logits.masked_fill(torch.zeros_like(drop).scatter(1, order, drop), -INF)


def p_ignored(logits, top_p=1.0):
    return logits


def right_temperature(logits, temperature):
    return torch.softmax(logits / temperature, dim=-1)


def right_top_k(logits, k):
    return logits.masked_fill(logits < torch.topk(logits, k).values[:, -1:], -INF)


def right_top_p(logits, p):
    values, order = logits.sort(descending=True)
    mass = values.softmax(-1)
    drop = mass.cumsum(-1) - mass >= p
    return logits.masked_fill(torch.zeros_like(drop).scatter(1, order, drop), -INF)


def temperature_after_top_p(logits, temperature=1.0, top_p=1.0):
    return right_top_p(logits, top_p) / temperature


def right_all(logits, temperature=1.0, top_k=None, top_p=None):
    logits = logits / temperature
    if top_k is not None:
        logits = right_top_k(logits, top_k)
    return logits if top_p is None else right_top_p(logits, top_p)


def right_sampler(logits, temperature=1.0, top_k=None, top_p=None):
    return torch.multinomial(right_all(logits, temperature, top_k, top_p).softmax(-1), 1)


def sampler_drops_crossing(logits, temperature=1.0, top_p=1.0):
    return torch.multinomial(p_drops_crossing(logits / temperature, top_p).softmax(-1), 1)


WRONG = [
    (multiplies, "multiplied by the temperature"),
    (forgets_temperature, "the temperature is ignored"),
    (cools_probabilities, "the temperature divides probabilities"),
    (takes_the_best, "the best token is always taken"),
    (k_plus_one, "top-k keeps one token too many"),
    (k_minus_one, "top-k keeps one token too few"),
    (k_smallest, "top-k keeps the worst tokens"),
    (k_with_zeros, "the logit 0, not −inf"),
    (k_without_ties, "tie with the k-th"),
    (k_ignored, "top-k is ignored"),
    (k_of_first_row, "all rows are filtered by the first one"),
    (p_drops_crossing, "top-p drops the token that crosses p"),
    (p_keeps_one_more, "top-p keeps one token after"),
    (p_ascending, "top-p adds up from the worst token"),
    (p_not_put_back, "not put back into the order of the vocabulary"),
    (p_threshold, "whose own probability is below p"),
    (p_over_rows, "over the rows of the batch"),
    (p_without_sorting, "without sorting"),
    (p_of_logits, "adds up logits"),
    (p_ignored, "top-p is ignored"),
    (temperature_after_top_p, "the temperature is applied after top-p"),
    (sampler_drops_crossing, "top-p drops the token that crosses p"),
]
RIGHT = [right_temperature, right_top_k, right_top_p, right_all, right_sampler]
