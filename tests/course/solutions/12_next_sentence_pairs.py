"""Exercise 12: BERT's second task, pairs of sentences."""

import random
from itertools import pairwise


def make_pairs(documents: list[list[str]], rng: random.Random | None = None) -> list[tuple[str, str, int]]:
    """A pair for each sentence but the last one of each document.

    With probability ½ the second sentence is the next one, and the label 0. Else it is any sentence of any other
    document, and the label 1.

    Args:
        documents: each a list of sentences; at least two documents.
        rng: source of the random numbers.

    Returns:
        (first sentence, second sentence, label) for each pair.
    """
    rng = random.Random() if rng is None else rng
    pairs = []
    for number, document in enumerate(documents):
        for first, following in pairwise(document):
            if rng.random() < 0.5:
                pairs.append((first, following, 0))
            else:
                other = rng.choice(documents[:number] + documents[number + 1 :])
                pairs.append((first, rng.choice(other), 1))
    return pairs
