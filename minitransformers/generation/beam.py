"""Beam search: several continuations of each text at the same time, of which the most likely ones go on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from minitransformers.generation.config import GenerationConfig, as_list
from minitransformers.generation.loop import Search
from minitransformers.generation.outputs import Step

IMPOSSIBLE = -1.0e9
"""Added to a score, it excludes the candidate: the sum is below every real score."""


def beam_loop(search: Search) -> Iterator[Step]:
    """Beam search and, with `do_sample`, beam sampling.

    Each step extends every running beam by every token and takes the best of these candidates. Candidates that end
    their text compete for a place among its `num_beams` results; the best of the others run on. There are two
    candidates for each beam, or more where there are several end-of-text tokens, so that enough of them can run on.
    """
    settings = search.settings
    beams, start, device = settings.num_beams or 1, search.sequences.shape[1], search.sequences.device
    texts = search.sequences.shape[0] // beams
    candidates = beams * max(2, 1 + len(search.ends))
    may_end = torch.arange(candidates, device=device) < beams  # the further candidates can only run on
    first_row = torch.arange(texts, device=device)[:, None] * beams

    # All beams of a text are equal at first: only the first one counts in the first step, after which they differ.
    scores = torch.zeros(texts, beams, device=device)
    scores[:, 1:] = IMPOSSIBLE
    no_tokens = torch.empty(texts, beams, 0, dtype=torch.long, device=device)
    running = Beams(search.sequences.view(texts, beams, start), scores, no_tokens)
    results = Results(running, settings, search.max_length - start)

    all_ended = False
    while not all_ended and not results.is_complete():
        # 1. The log-probability of every beam plus that of each next token; the best of the sums.
        logits = search.model(search.sequences)[:, -1]
        log_probabilities = search.process(logits, logits.log_softmax(dim=-1))
        totals = (log_probabilities.view(texts, beams, -1) + running.scores[:, :, None]).flatten(1)
        if settings.do_sample:
            chosen = search.draw(totals.softmax(dim=-1), candidates)
            totals = totals.gather(1, chosen)
        else:
            totals, chosen = totals.topk(candidates)
        parents, tokens = chosen // log_probabilities.shape[-1], chosen % log_probabilities.shape[-1]
        extended = running.pick(parents).extended(tokens, parents + first_row, totals)

        # 2. Candidates that end compete with the results; the best of the others run on.
        ended = search.ended(extended.sequences.flatten(0, 1)).view(texts, candidates)
        going_on, best = (totals + ended * IMPOSSIBLE).topk(beams)
        running = extended.pick(best).with_score(going_on)
        results.add(extended, ended & may_end, running)
        all_ended = bool(ended.all())

        rows = running.paths[:, :, -1].flatten()
        search.model.reorder(rows)
        search.sequences = running.sequences.flatten(0, 1)
        yield Step(
            token_ids=search.sequences[:, -1],
            cumulative=running.scores.flatten(),
            finished=results.finished().repeat_interleave(beams),
            sequences=search.sequences,
            logits=logits,
            scores=log_probabilities,
            parents=rows,
        )

    best_results = torch.arange(settings.num_return_sequences or 1, device=device).expand(texts, -1)
    found = results.beams.pick(best_results)
    new_tokens = int((found.paths >= 0).sum(dim=2).max())
    search.sequences = found.sequences[:, :, : start + new_tokens].flatten(0, 1)
    search.beams = {
        "sequences_scores": found.scores.flatten() if settings.output_scores else None,
        "beam_indices": found.paths[:, :, :new_tokens].flatten(0, 1).int(),
    }


@dataclass
class Beams:
    """Continuations of every text.

    Attributes:
        sequences: (texts, number, length) ids, including those of the prompt.
        scores: (texts, number).
        paths: (texts, number, new tokens) the row of the model's batch that each new token was chosen in; −1 after
            the end.
    """

    sequences: Tensor
    scores: Tensor
    paths: Tensor

    def pick(self, numbers: Tensor) -> Beams:
        """The continuations `numbers` (texts, count) of every text, in that order."""
        text = torch.arange(len(numbers), device=numbers.device)[:, None]
        return Beams(self.sequences[text, numbers], self.scores[text, numbers], self.paths[text, numbers])

    def extended(self, tokens: Tensor, rows: Tensor, scores: Tensor) -> Beams:
        """Each continuation with one more token (texts, number), chosen in `rows`, and its new score."""
        sequences = torch.cat([self.sequences, tokens[:, :, None]], dim=2)
        return Beams(sequences, scores, torch.cat([self.paths, rows[:, :, None]], dim=2))

    def with_score(self, scores: Tensor) -> Beams:
        """The same continuations with other scores."""
        return Beams(self.sequences, scores, self.paths)


class Results:
    """The best complete continuations of every text, by log-probability / length^length_penalty.

    A text is finished once it has `num_beams` results and, depending on `early_stopping`: at once (True); as soon as
    its best running beam would not be among them if it ended now (False, an estimate), or at any later length
    ("never").

    Args:
        prompts: the running beams of the first step.
        settings: of the call.
        max_new_tokens: the most tokens that a continuation may have.
    """

    def __init__(self, prompts: Beams, settings: GenerationConfig, max_new_tokens: int) -> None:
        self.beams = prompts.with_score(torch.full_like(prompts.scores, IMPOSSIBLE))
        self.max_new_tokens = max_new_tokens
        self.stops_at_once = settings.early_stopping is True
        self.length_penalty = 1.0 if settings.length_penalty is None else float(settings.length_penalty)
        self.longer_is_better = settings.early_stopping == "never" and self.length_penalty > 0
        # As in transformers, a padding token of id 0 gives way to the end-of-text token.
        ends = as_list(settings.eos_token_id)
        self.padding = (settings.pad_token_id or ends[0]) if ends else -1
        self.exist = torch.zeros_like(prompts.scores, dtype=torch.bool)  # (texts, num_beams)
        self.can_improve = torch.ones_like(self.exist[:, :1])  # (texts, 1)

    def add(self, candidates: Beams, ending: Tensor, running: Beams) -> None:
        """Put the candidates that are `ending` in the place of worse results, while beams are still `running`."""
        new_tokens = candidates.paths.shape[2]
        scores = candidates.scores / new_tokens**self.length_penalty
        complete = self.exist.all(dim=1, keepdim=True) & self.stops_at_once
        for excluded in (complete, ~self.can_improve, ~ending):
            scores = scores + excluded * IMPOSSIBLE
        both = Beams(
            torch.cat([F.pad(self.beams.sequences, (0, 1), value=self.padding), candidates.sequences], dim=1),
            torch.cat([self.beams.scores, scores], dim=1),
            torch.cat([F.pad(self.beams.paths, (0, 1), value=-1), candidates.paths], dim=1),
        )
        best = both.scores.topk(self.beams.scores.shape[1]).indices
        self.beams = both.pick(best)
        self.exist = torch.cat([self.exist, ending], dim=1).gather(1, best)

        # A text can improve while its best running beam beats the worst result, or results are missing.
        length = self.max_new_tokens if self.longer_is_better else new_tokens
        worst = self.beams.scores.amin(dim=1, keepdim=True).where(self.exist, IMPOSSIBLE)
        best_running = running.scores[:, :1] / length**self.length_penalty
        self.can_improve = self.can_improve & (best_running > worst.amin(dim=1, keepdim=True))

    def finished(self) -> Tensor:
        """(texts,) which texts are finished."""
        return (self.exist.all(dim=1) & self.stops_at_once) | ~self.can_improve.squeeze(1)

    def is_complete(self) -> bool:
        """Whether the search is over."""
        return not self.can_improve.any() or (self.stops_at_once and bool(self.exist.all()))
