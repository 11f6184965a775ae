"""Beam search: several continuations of each text at once, of which the likeliest go on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from minitransformers.generation.config import as_list
from minitransformers.generation.steps import (
    GenerateBeamDecoderOnlyOutput,
    GenerateBeamEncoderDecoderOutput,
    Search,
    Step,
)
from minitransformers.outputs import ModelOutput

IMPOSSIBLE = -1.0e9
"""A score below all others; added to a score, it takes it out of the competition."""


@dataclass
class Beams:
    """Continuations of every text.

    Attributes:
        sequences: (texts, number, length) ids, those of the prompt included.
        scores: (texts, number).
        paths: (texts, number, new tokens) the row of the model's batch that each new token was chosen in; −1 after
            the end.
    """

    sequences: Tensor
    scores: Tensor
    paths: Tensor

    def pick(self, numbers: Tensor) -> Beams:
        """For every text its continuations `numbers` (texts, count), in that order."""
        text = torch.arange(len(numbers), device=numbers.device)[:, None]
        return Beams(self.sequences[text, numbers], self.scores[text, numbers], self.paths[text, numbers])

    def extended(self, tokens: Tensor, rows: Tensor, scores: Tensor) -> Beams:
        """Each continuation with one more token (texts, number), chosen in `rows`, and its new score."""
        sequences = torch.cat([self.sequences, tokens[:, :, None]], dim=2)
        return Beams(sequences, scores, torch.cat([self.paths, rows[:, :, None]], dim=2))

    def with_score(self, scores: Tensor) -> Beams:
        """The same continuations, scored anew."""
        return Beams(self.sequences, scores, self.paths)


class BeamSearch(Search):
    """Beam search and, with `do_sample`, beam sampling.

    Each step extends every running beam by every token and looks at the best of these candidates. Those that end their
    text compete for a place among its `num_beams` results, by log-probability / length^length_penalty; the best of the
    others run on. So that enough can run on, there are two candidates a beam, or one more than there are ends of text.

    A text is finished once it has all its results and, by `early_stopping`: at once (True); as soon as its best running
    beam would not be among them if it ended now (False, a guess), or at any later length ("never").
    """

    def _run(self) -> Iterator[Step]:
        beams, start = self.settings.num_beams or 1, self.sequences.shape[1]
        texts, device = self.sequences.shape[0] // beams, self.sequences.device
        candidates = beams * max(2, 1 + len(as_list(self.settings.eos_token_id)))
        may_end = torch.arange(candidates, device=device) < beams  # the further candidates are there to run on
        first_row = torch.arange(texts, device=device)[:, None] * beams

        # All beams of a text begin alike; only the first counts at first, and so they become different.
        prompts = self.sequences.view(texts, beams, start)
        scores = torch.zeros(texts, beams, device=device)
        scores[:, 1:] = IMPOSSIBLE
        running = Beams(prompts, scores, torch.empty(texts, beams, 0, dtype=torch.long, device=device))
        self._results = running.with_score(torch.full_like(scores, IMPOSSIBLE))
        self._have_result = torch.zeros_like(scores, dtype=torch.bool)
        self._improvable = torch.ones(texts, 1, dtype=torch.bool, device=device)

        stuck = False  # all candidates have ended
        while not stuck and self._improvable.any() and not (self._stops_at_once and self._have_result.all()):
            # 1. Every beam's log-probability and that of each next token; of these, the best.
            logits = self.decoder(self.sequences)[:, -1]
            log_probabilities = self._processed(logits, logits.log_softmax(dim=-1))
            totals = (log_probabilities.view(texts, beams, -1) + running.scores[:, :, None]).flatten(1)
            if self.settings.do_sample:
                chosen = self._draw(totals.softmax(dim=-1), candidates)
                totals = totals.gather(1, chosen)
            else:
                totals, chosen = totals.topk(candidates)
            parents, tokens = chosen // log_probabilities.shape[-1], chosen % log_probabilities.shape[-1]
            extended = running.pick(parents).extended(tokens, parents + first_row, totals)

            # 2. Those that end compete with the results; the best of the others run on.
            ended = self._ended(extended.sequences.flatten(0, 1)).view(texts, candidates)
            going_on, best = (totals + ended * IMPOSSIBLE).topk(beams)
            running = extended.pick(best).with_score(going_on)
            self._compete(extended, ended & may_end)
            self._improvable = self._improvable & self._can_improve(running, self.longest - start)
            stuck = bool(ended.all())

            rows = running.paths[:, :, -1].flatten()
            self.decoder.reorder(rows)
            self.sequences = running.sequences.flatten(0, 1)
            yield Step(
                token_ids=self.sequences[:, -1],
                cumulative=running.scores.flatten(),
                finished=self._finished().repeat_interleave(beams),
                sequences=self.sequences,
                logits=logits,
                scores=log_probabilities,
                parents=rows,
            )

        self._results = self._results.pick(
            torch.arange(self.settings.num_return_sequences or 1, device=device).expand(texts, -1)
        )
        new_tokens = int((self._results.paths >= 0).sum(dim=2).max())
        self._results.paths = self._results.paths[:, :, :new_tokens]
        self.sequences = self._results.sequences[:, :, : start + new_tokens].flatten(0, 1)

    def _compete(self, candidates: Beams, ending: Tensor) -> None:
        """Let the candidates that are `ending` take the places of worse results."""
        scores = candidates.scores / candidates.paths.shape[2] ** self._length_penalty
        complete = self._have_result.all(dim=1, keepdim=True) & self._stops_at_once
        for excluded in (complete, ~self._improvable, ~ending):
            scores = scores + excluded * IMPOSSIBLE
        results = Beams(
            torch.cat([F.pad(self._results.sequences, (0, 1), value=self._fill), candidates.sequences], dim=1),
            torch.cat([self._results.scores, scores], dim=1),
            torch.cat([F.pad(self._results.paths, (0, 1), value=-1), candidates.paths], dim=1),
        )
        best = results.scores.topk(self._results.scores.shape[1]).indices
        self._results = results.pick(best)
        self._have_result = torch.cat([self._have_result, ending], dim=1).gather(1, best)

    def _can_improve(self, running: Beams, most_tokens: int) -> Tensor:
        """(texts, 1) whether the best running beam would beat the worst result; it does where results are missing."""
        longer_is_better = self.settings.early_stopping == "never" and self._length_penalty > 0
        new_tokens = most_tokens if longer_is_better else running.paths.shape[2]
        worst = self._results.scores.amin(dim=1, keepdim=True).where(self._have_result, IMPOSSIBLE)
        best: Tensor = running.scores[:, :1] / new_tokens**self._length_penalty
        return best > worst.amin(dim=1, keepdim=True)

    def _finished(self) -> Tensor:
        """(texts,) which texts are."""
        return (self._have_result.all(dim=1) & self._stops_at_once) | ~self._improvable.squeeze(1)

    @property
    def _stops_at_once(self) -> bool:
        return self.settings.early_stopping is True

    @property
    def _length_penalty(self) -> float:
        return 1.0 if self.settings.length_penalty is None else float(self.settings.length_penalty)

    @property
    def _fill(self) -> int:
        """What fills shorter results, as in the reference: a padding token of id 0 gives way to the end of text."""
        ends = as_list(self.settings.eos_token_id)
        return (self.settings.pad_token_id or ends[0]) if ends else -1

    def output(self) -> ModelOutput:
        """Sequences with their scores, and what was asked to be kept."""
        keep_scores = self.settings.return_dict_in_generate and self.settings.output_scores
        kind = GenerateBeamEncoderDecoderOutput if self.decoder.is_encoder_decoder else GenerateBeamDecoderOnlyOutput
        return kind(
            sequences=self.sequences,
            sequences_scores=self._results.scores.flatten() if keep_scores else None,
            beam_indices=self._results.paths.flatten(0, 1).int(),
            **self._kept_and_cache(),
        )
