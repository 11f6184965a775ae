"""Training loops as learners write them: wrong ones with the cause that must be named, and right ones."""

import torch
from torch import nn


def right(model, batches, optimizer, accumulation=1, max_norm=None):
    model.train()
    losses = []
    for start in range(0, len(batches), accumulation):
        group = batches[start : start + accumulation]
        optimizer.zero_grad()
        total = 0.0
        for batch in group:
            loss = model(batch) / len(group)
            loss.backward()
            total += loss.item()
        if max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(total)
    return losses


def simple(model, loader, optim):
    model.train()
    for batch in loader:
        optim.zero_grad()
        model(batch).backward()
        optim.step()


def without_zero(model, batches, optimizer):
    model.train()
    for batch in batches:
        model(batch).backward()
        optimizer.step()


def zero_after_backward(model, batches, optimizer):
    model.train()
    for batch in batches:
        model(batch).backward()
        optimizer.zero_grad()
        optimizer.step()


def no_step(model, batches, optimizer):
    model.train()
    return [model(batch).item() for batch in batches]


def step_before_backward(model, batches, optimizer):
    model.train()
    for batch in batches:
        loss = model(batch)
        optimizer.step()
        optimizer.zero_grad()
        loss.backward()


def in_evaluation_mode(model, batches, optimizer):
    for batch in batches:
        optimizer.zero_grad()
        model(batch).backward()
        optimizer.step()


def adds_up(model, batches, optimizer, accumulation=1):
    model.train()
    for start in range(0, len(batches), accumulation):
        optimizer.zero_grad()
        for batch in batches[start : start + accumulation]:
            model(batch).backward()
        optimizer.step()


def drops_the_rest(model, batches, optimizer, accumulation=1):
    model.train()
    optimizer.zero_grad()
    for index, batch in enumerate(batches):
        (model(batch) / accumulation).backward()
        if (index + 1) % accumulation == 0:
            optimizer.step()
            optimizer.zero_grad()


def divides_the_rest(model, batches, optimizer, accumulation=1):
    model.train()
    optimizer.zero_grad()
    for index, batch in enumerate(batches):
        (model(batch) / accumulation).backward()
        if (index + 1) % accumulation == 0 or index + 1 == len(batches):
            optimizer.step()
            optimizer.zero_grad()


def zeroes_each_batch(model, batches, optimizer, accumulation=1):
    model.train()
    for start in range(0, len(batches), accumulation):
        group = batches[start : start + accumulation]
        for batch in group:
            optimizer.zero_grad()
            (model(batch) / len(group)).backward()
        optimizer.step()


def clips_too_late(model, batches, optimizer, max_norm=None):
    model.train()
    for batch in batches:
        optimizer.zero_grad()
        model(batch).backward()
        optimizer.step()
        if max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)


def clips_values(model, batches, optimizer, max_norm=None):
    model.train()
    for batch in batches:
        optimizer.zero_grad()
        model(batch).backward()
        if max_norm is not None:
            nn.utils.clip_grad_value_(model.parameters(), max_norm)
        optimizer.step()


def clips_one_by_one(model, batches, optimizer, max_norm=None):
    model.train()
    for batch in batches:
        optimizer.zero_grad()
        model(batch).backward()
        for parameter in model.parameters() if max_norm is not None else ():
            nn.utils.clip_grad_norm_([parameter], max_norm)
        optimizer.step()


def scales_always(model, batches, optimizer, max_norm=None):
    model.train()
    for batch in batches:
        optimizer.zero_grad()
        model(batch).backward()
        if max_norm is not None:
            size = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
            for parameter in model.parameters():
                parameter.grad.mul_(max_norm / size)
        optimizer.step()


def keeps_graphs(model, batches, optimizer):
    model.train()
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        loss = model(batch)
        loss.backward()
        optimizer.step()
        losses.append(loss)
    return losses


WRONG = [
    (without_zero, "gradients are not set to zero"),
    (zero_after_backward, "between backward and step"),
    (no_step, "the optimizer takes no step"),
    (step_before_backward, "the step comes before backward"),
    (in_evaluation_mode, "evaluation mode"),
    (adds_up, "added up, not averaged"),
    (drops_the_rest, "too few for a whole step, are dropped"),
    (divides_the_rest, "divided by the full number of batches"),
    (zeroes_each_batch, "only the last batch of a step counts"),
    (clips_too_late, "not clipped, or only after the step"),
    (clips_values, "single numbers are clipped"),
    (clips_one_by_one, "clipped on its own"),
    (scales_always, "even where they are shorter"),
    (keeps_graphs, "use loss.item()"),
]
RIGHT = [right, simple]
