"""Beam searches as learners write them."""

import torch


class Search:
    """A right search with a cache, of which the wrong ones change a part."""

    def start(self, logits, beams):
        scores, tokens = self.gain(logits)[0].topk(min(beams, logits.shape[-1]))
        return scores, torch.zeros_like(tokens), tokens

    def gain(self, logits):
        return torch.log_softmax(logits, dim=-1)

    def total(self, scores, gains):
        return scores[:, None] + gains

    def choose(self, totals, beams):
        best, flat = totals.flatten().topk(min(beams, totals.numel()))
        return best, flat // totals.shape[1], flat % totals.shape[1]

    def reorder(self, cache, rows):
        cache.reorder(rows)

    def past(self, ids, rows):
        return ids[rows]

    def answer(self, hypotheses):
        return max(hypotheses, key=lambda h: h[0])[1]

    def steps(self, n):
        return n

    def width(self, beams):
        return beams

    def ends(self, tokens, eos):
        return tokens == eos

    def __call__(self, model, input_ids, num_beams, max_new_tokens, eos_token_id):
        finished, ids = [], input_ids
        num_beams = self.width(num_beams)
        logits, cache = model(input_ids)
        scores, rows, tokens = self.start(logits, num_beams)
        for step in range(self.steps(max_new_tokens)):
            if step:
                logits, cache = model(ids[:, -1:], cache)
                scores, rows, tokens = self.choose(self.total(scores, self.gain(logits)), num_beams)
            ids = torch.cat([self.past(ids, rows), tokens[:, None]], 1)
            done = self.ends(tokens, eos_token_id)
            finished += [(float(s), text) for s, text in zip(scores[done], ids[done], strict=True)]
            scores, ids = scores[~done], ids[~done]
            self.reorder(cache, rows[~done])
            if not len(ids):
                break
        return self.answer(self.hypotheses(finished, scores, ids))

    def hypotheses(self, finished, scores, ids):
        return finished + [(float(s), text) for s, text in zip(scores, ids, strict=True)]


class NoReorder(Search):
    def reorder(self, cache, rows):
        cache.reorder(torch.arange(len(rows)) % len(cache.state))


class Greedy(Search):
    def width(self, beams):
        return 1


class BeginsWithEqualBeams(Search):
    def start(self, logits, beams):
        best, token = self.gain(logits)[0].max(-1)
        return best.repeat(beams), torch.zeros(beams, dtype=torch.long), token.repeat(beams)

    def choose(self, totals, beams):
        best, tokens = totals.max(-1)
        return best, torch.arange(len(totals)), tokens


class EachBeamItsOwn(Search):
    def choose(self, totals, beams):
        best, tokens = totals.max(-1)
        return best, torch.arange(len(totals)), tokens


class LastScoreOnly(Search):
    def total(self, scores, gains):
        return gains


class RawLogits(Search):
    def gain(self, logits):
        return logits


class AddsProbabilities(Search):
    def gain(self, logits):
        return logits.softmax(-1)


class KeepsOldIds(Search):
    def past(self, ids, rows):
        return ids[torch.arange(len(rows)) % len(ids)]


class ReturnsTheWorst(Search):
    def answer(self, hypotheses):
        return min(hypotheses, key=lambda h: h[0])[1]


class GoesOnAfterTheEnd(Search):
    def ends(self, tokens, eos):
        return torch.zeros_like(tokens, dtype=torch.bool)


class DropsFinished(Search):
    def hypotheses(self, finished, scores, ids):
        return super().hypotheses([], scores, ids)


class FinishedOnly(Search):
    def hypotheses(self, finished, scores, ids):
        return finished or super().hypotheses(finished, scores, ids)


class OneStepLess(Search):
    def steps(self, n):
        return n - 1


class OneStepMore(Search):
    def steps(self, n):
        return n + 1


class LeastLikely(Search):
    def start(self, logits, beams):
        scores, tokens = self.gain(logits)[0].topk(min(beams, logits.shape[-1]), largest=False)
        return scores, torch.zeros_like(tokens), tokens

    def choose(self, totals, beams):
        best, flat = totals.flatten().topk(min(beams, totals.numel()), largest=False)
        return best, flat // totals.shape[1], flat % totals.shape[1]


def right_without_cache(model, start, beams, max_new_tokens, eos):
    """Whole texts at every step, in plain lists."""
    alive, finished = [(0.0, start[0].tolist())], []
    for _ in range(max_new_tokens):
        options = []
        for score, text in alive:
            gains = model(torch.tensor([text]))[0].log_softmax(-1)[0]
            options += [(score + float(g), [*text, t]) for t, g in enumerate(gains)]
        options = sorted(options, key=lambda o: -o[0])[:beams]
        finished += [o for o in options if o[1][-1] == eos]
        alive = [o for o in options if o[1][-1] != eos]
    return torch.tensor([max(finished + alive, key=lambda o: o[0])[1]])


WRONG = [
    (NoReorder(), "beams don't reorder the cache"),
    (Greedy(), "the search is greedy"),
    (BeginsWithEqualBeams(), ("the search is greedy", "all beams begin equal")),
    (EachBeamItsOwn(), "each beam keeps its own best token"),
    (LastScoreOnly(), "the last token only, not added up"),
    (RawLogits(), "logits are added up"),
    (AddsProbabilities(), "probabilities are added up"),
    (KeepsOldIds(), "ids are not reordered"),
    (ReturnsTheWorst(), "the worst of the kept beams is returned"),
    (GoesOnAfterTheEnd(), ("finished texts go on", "does not end a text")),
    (DropsFinished(), "finished texts are dropped"),
    (FinishedOnly(), "texts that did not reach the end token are dropped"),
    (OneStepLess(), "one step too early"),
    (OneStepMore(), "one step too far"),
    (LeastLikely(), "the least likely tokens are kept"),
]
RIGHT = [Search(), right_without_cache]
