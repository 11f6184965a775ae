"""Learning-rate schedules as learners write them: wrong ones with the cause that must be named, and a right one."""

from math import cos, pi


def right(step, peak, warmup, total):
    if step < warmup:
        return peak * step / warmup
    return peak * max(0.0, (total - step) / (total - warmup))


def no_warmup(step, peak, warmup, total):
    return peak * max(0.0, min(1.0, (total - step) / (total - warmup)))


def stays(step, peak, warmup, total):
    return peak * min(1.0, step / warmup)


def jumps(step, peak, warmup, total):
    return peak * step / warmup if step < warmup else peak * max(0.0, 1 - step / total)


def one_step_ahead(step, peak, warmup, total):
    return right(step + 1, peak, warmup, total)


def never_ends(step, peak, warmup, total):
    return peak * step / warmup if step < warmup else peak * max(0.0, 1 - (step - warmup) / total)


def below_zero(step, peak, warmup, total):
    return peak * step / warmup if step < warmup else peak * (total - step) / (total - warmup)


def cosine(step, peak, warmup, total):
    if step < warmup:
        return peak * step / warmup
    return peak * 0.5 * (1 + cos(pi * min(1.0, (step - warmup) / (total - warmup))))


WRONG = [
    (no_warmup, "there is no warm-up"),
    (stays, "the rate stays at its peak"),
    (jumps, "the decay counts from step 0"),
    (one_step_ahead, "it is that of the next step"),
    (never_ends, "the rate never reaches 0"),
    (below_zero, "the rate goes below 0"),
    (cosine, "the decay is a cosine"),
]
RIGHT = [right]
