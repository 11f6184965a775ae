"""Sentence pairs as learners write them."""

import random
from itertools import pairwise


def _pairs(documents, choose, positive=0.5, label=lambda is_next: 0 if is_next else 1, following=lambda d, i: d[i + 1]):
    made = []
    for number, document in enumerate(documents):
        for i in range(len(document) - 1):
            is_next = random.random() < positive
            second = following(document, i) if is_next else choose(documents, number, i)
            made.append((document[i], second, label(is_next)))
    return made


def _other(documents, number, i):
    return random.choice(random.choice(documents[:number] + documents[number + 1 :]))


def right(documents):
    return _pairs(documents, _other)


def right_with_rng(docs, rng):
    made = []
    for n, doc in enumerate(docs):
        for a, b in pairwise(doc):
            if rng.random() < 0.5:
                made.append((a, b, 0))
            else:
                m = rng.randrange(len(docs) - 1)
                made.append((a, rng.choice(docs[m + (m >= n)]), 1))
    return made


def labels_swapped(documents):
    return _pairs(documents, _other, label=int)


def negatives_are_neighbours(documents):
    return _pairs(documents, lambda docs, n, i: docs[n][i + 1])


def negatives_of_the_same_document(documents):
    return _pairs(documents, lambda docs, n, i: random.choice(docs[n]))


def negatives_from_anywhere(documents):
    return _pairs(documents, lambda docs, n, i: random.choice(random.choice(docs)))


def the_sentence_before(documents):
    made = []
    for n, doc in enumerate(documents):
        for i in range(1, len(doc) - 1):
            made.append((doc[i], doc[i - 1], 0) if random.random() < 0.5 else (doc[i], _other(documents, n, i), 1))
    return made


def the_same_sentence(documents):
    return _pairs(documents, _other, following=lambda d, i: d[i])


def over_the_end_of_documents(documents):
    sentences = [(n, s) for n, doc in enumerate(documents) for s in doc]
    made = []
    for (n, a), (_, b) in pairwise(sentences):
        made.append((a, b, 0) if random.random() < 0.5 else (a, _other(documents, n, 0), 1))
    return made


def no_negatives(documents):
    return _pairs(documents, _other, positive=1.0)


def no_positives(documents):
    return _pairs(documents, _other, positive=0.0)


def few_negatives(documents):
    return _pairs(documents, _other, positive=0.75)


def many_negatives(documents):
    return _pairs(documents, _other, positive=0.25)


def always_first_sentences(documents):
    return _pairs(documents, lambda docs, n, i: random.choice(docs[:n] + docs[n + 1 :])[0])


def always_the_following_document(documents):
    return _pairs(documents, lambda docs, n, i: random.choice(docs[(n + 1) % len(docs)]))


def alternating(documents):
    made = []
    for n, doc in enumerate(documents):
        for i in range(len(doc) - 1):
            made.append((doc[i], _other(documents, n, i), 1) if len(made) % 2 else (doc[i], doc[i + 1], 0))
    return made


WRONG = [
    (labels_swapped, "labels are swapped"),
    (negatives_are_neighbours, "negatives are neighbours"),
    (negatives_of_the_same_document, "negatives come from the same document"),
    (negatives_from_anywhere, "negatives come from any document, their own included"),
    (the_sentence_before, "positives have the sentence before"),
    (the_same_sentence, "positives repeat the first sentence"),
    (over_the_end_of_documents, "the last sentence of a document is paired"),
    (no_negatives, "there are no negatives"),
    (no_positives, "there are no positives"),
    (few_negatives, "a quarter of the pairs are negatives"),
    (many_negatives, "three quarters of the pairs are negatives"),
    (always_first_sentences, "always the first sentence of a document"),
    (always_the_following_document, "always come from the following document"),
    (alternating, "labels alternate"),
]
RIGHT = [right, right_with_rng]
