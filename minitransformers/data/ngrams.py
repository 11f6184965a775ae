"""An n-gram model with Kneser-Ney smoothing: the baseline that a language model has to beat on the same tokens.

    baseline = KneserNey(corpus[:5_000_000], vocab_size=2000, order=4)
    baseline.log_probabilities(blocks).mean()       # of each token after the first, in nats

The probability of a token w after a context h of n - 1 tokens (Chen and Goodman, 1999, section 3: interpolated, with
their modification of three discounts):

    p(w | h) = max(c(hw) - D(c(hw)), 0) / c(h.) + gamma(h) p(w | h'),     h' = h without its first token
    gamma(h) = (D1 N1(h.) + D2 N2(h.) + D3+ N3+(h.)) / c(h.)

c(h.) is the sum of c(hw) over all w, and Nk(h.) the number of w with c(hw) = k. For the longest n-grams c is how often
they occur; for shorter ones, how many different tokens occur before them. Below the single tokens is 1 / vocab_size.
The discounts of an order come from the numbers nk of its n-grams with c = k:

    Y = n1 / (n1 + 2 n2),   D1 = 1 - 2Y n2 / n1,   D2 = 2 - 3Y n3 / n2,   D3+ = 3 - 4Y n4 / n3

Where one of n1, n2, n3 is 0, or a discount would not be positive, all three are Y (Kneser and Ney, 1995), or 1/2 if n1
is 0. So every token has a probability above 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minitransformers.configs.checks import check_count
from minitransformers.errors import InputError


class _Order(NamedTuple):
    """The n-grams of one length, sorted: keys are number of the context times vocabulary + last token.

    The number of a context is its place among the shorter n-grams, so no key is larger than tokens times vocabulary.
    """

    keys: np.ndarray
    discounted: np.ndarray  # c(hw) - D(c(hw)), at least 0
    totals: np.ndarray  # c(h.) of each context, 0 where it was never followed
    gammas: np.ndarray


class KneserNey:
    """Counts of all n-grams of a text, and the probabilities of tokens from them.

    Args:
        tokens: ids, one document behind the other; memory for learning is about 100 bytes for each.
        vocab_size: all ids are below it.
        order: the longest n-grams: 4 takes three tokens of context into account.

    Raises:
        InputError: fewer tokens than one n-gram has, or ids outside the vocabulary.
    """

    def __init__(self, tokens: Any, vocab_size: Any, order: Any = 4) -> None:
        self.vocab_size = check_count("vocab_size", vocab_size, least=1)
        self.order = check_count("order", order, least=1)
        ids = self._checked(tokens)
        if ids.ndim != 1 or len(ids) < self.order:
            raise InputError(f"tokens must be one sequence of at least order={order} ids, got the shape {ids.shape}.")
        # numbers[i]: the n-gram that begins at i, as its place among all n-grams of its length.
        tables: list[np.ndarray] = []
        before: list[np.ndarray] = []
        numbers, contexts = np.zeros(len(ids), dtype=np.int64), 1
        for length in range(1, self.order + 1):
            numbers = numbers[: len(ids) - length + 1] * self.vocab_size + ids[length - 1 :]
            keys, numbers, counts = np.unique(numbers, return_inverse=True, return_counts=True)
            if length < self.order:  # with how many tokens before it does it occur?
                pairs = np.unique(numbers[1:] * self.vocab_size + ids[: len(numbers) - 1])
                counts = np.bincount(pairs // self.vocab_size, minlength=len(keys))
            tables.append(keys)
            before.append(counts)
        self._orders = []
        for keys, counts in zip(tables, before, strict=True):
            self._orders.append(self._table(keys, counts, contexts))
            contexts = len(keys)

    def log_probabilities(self, ids: Any) -> np.ndarray:
        """The natural logarithm of the probability of each token after the first of its row.

        Args:
            ids: of shape (rows, length), or (length,). Rows are apart: the context of a token is in its row.

        Returns:
            An array of shape (rows, length - 1), or (length - 1,).

        Raises:
            InputError: ids outside the vocabulary.
        """
        rows = self._checked(ids)
        if rows.ndim == 1:
            of_row: np.ndarray = self.log_probabilities(rows[None])[0]
            return of_row
        length = rows.shape[1]
        probabilities = np.full(rows.shape, 1 / self.vocab_size)
        numbers = np.zeros(rows.shape, dtype=np.int64)  # of the context that ends before the token; -1: never seen
        for size, order in enumerate(self._orders[:length]):
            if size:  # the context of one token more: found in the shorter order, from its beginning on
                numbers = self._context_numbers(rows, size)
            own = self._probabilities(order, numbers[:, size:length], rows[:, size:], probabilities[:, size:])
            probabilities[:, size:] = own
        logarithms: np.ndarray = np.log(probabilities[:, 1:])
        return logarithms

    def probabilities(self, context: Any) -> np.ndarray:
        """The probability of every token of the vocabulary after a context, of which the last tokens count.

        Args:
            context: ids of shape (length,), which may be empty.
        """
        context = self._checked(context).reshape(-1)[max(0, np.size(context) - self.order + 1) :]
        everything = np.arange(self.vocab_size)
        rows = np.concatenate([np.tile(context, (self.vocab_size, 1)), everything[:, None]], axis=1)
        if not len(context):
            uniform = np.full(self.vocab_size, 1 / self.vocab_size)
            return self._probabilities(self._orders[0], np.zeros(self.vocab_size, np.int64), everything, uniform)
        of_tokens: np.ndarray = np.exp(self.log_probabilities(rows)[:, -1])
        return of_tokens

    def _checked(self, ids: Any) -> np.ndarray:
        array = np.asarray(ids)
        if array.size and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= self.vocab_size):
            raise InputError(
                f"ids must be whole numbers from 0 to vocab_size - 1 = {self.vocab_size - 1}; got the type "
                f"{array.dtype}" + (f" and {array.min()} to {array.max()}." if array.dtype.kind in "iu" else ".")
            )
        return array.astype(np.int64)

    def _table(self, keys: np.ndarray, counts: np.ndarray, contexts: int) -> _Order:
        one, two, three, four = (int((counts == number).sum()) for number in (1, 2, 3, 4))
        share = one / (one + 2 * two) if one else 0.5
        discounts = [0.0, share, share, share]
        if one and two and three:
            modified = [1 - 2 * share * two / one, 2 - 3 * share * three / two, 3 - 4 * share * four / three]
            if min(modified) > 0:
                discounts = [0.0, *modified]
        discount = np.minimum(np.array(discounts)[np.minimum(counts, 3)], counts)
        context = keys // self.vocab_size
        totals = np.bincount(context, weights=counts, minlength=contexts)
        gammas = np.bincount(context, weights=discount, minlength=contexts) / np.maximum(totals, 1)
        return _Order(keys, counts - discount, totals, gammas)

    def _context_numbers(self, rows: np.ndarray, size: int) -> np.ndarray:
        """For each place from `size` on, the number of the `size` tokens before it among the n-grams of that length."""
        numbers = np.zeros(rows.shape, dtype=np.int64)
        width = rows.shape[1] - size
        found = numbers[:, :width]
        for step, order in enumerate(self._orders[:size]):
            found = self._find(order.keys, found, rows[:, step : step + width])
        numbers[:, size:] = found
        return numbers

    def _find(self, keys: np.ndarray, contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        wanted = contexts * self.vocab_size + tokens
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where((contexts >= 0) & (keys[places] == wanted), places, -1)

    def _probabilities(
        self, order: _Order, contexts: np.ndarray, tokens: np.ndarray, shorter: np.ndarray
    ) -> np.ndarray:
        places = self._find(order.keys, contexts, tokens)
        totals = np.where(contexts >= 0, order.totals[contexts], 0)
        own = np.where(places >= 0, order.discounted[places], 0)
        interpolated = own / np.maximum(totals, 1) + order.gammas[contexts] * shorter
        return np.where(totals > 0, interpolated, shorter)
