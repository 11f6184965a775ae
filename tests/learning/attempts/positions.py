"""Sinusoidal positions as learners write them: wrong ones with the cause that must be named, and right ones."""

import math

import torch


def right(length, hidden_size):
    table = torch.zeros(length, hidden_size)
    position = torch.arange(length).float().unsqueeze(1)
    divisor = torch.exp(torch.arange(0, hidden_size, 2).float() * (-math.log(10000.0) / hidden_size))
    table[:, 0::2] = torch.sin(position * divisor)
    table[:, 1::2] = torch.cos(position * divisor)
    return table


def with_a_batch(length, dim):
    return right(length, dim).unsqueeze(0)


def sines_then_cosines(length, hidden_size):
    angle = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, hidden_size, 2) / hidden_size)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def exchanged(length, hidden_size):
    angle = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, hidden_size, 2) / hidden_size)
    return torch.stack([angle.cos(), angle.sin()], dim=-1).flatten(1)


def a_frequency_for_each_feature(length, hidden_size):
    angle = torch.arange(length)[:, None] / 10000 ** (torch.arange(hidden_size) / hidden_size)
    table = angle.sin()
    table[:, 1::2] = angle[:, 1::2].cos()
    return table


def half_the_exponent(length, hidden_size):
    angle = torch.arange(length)[:, None] / 10000 ** (torch.arange(hidden_size // 2) / hidden_size)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def base_of_1000(length, hidden_size):
    angle = torch.arange(length)[:, None] / 1000 ** (torch.arange(0, hidden_size, 2) / hidden_size)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def counts_from_one(length, hidden_size):
    angle = torch.arange(1, length + 1)[:, None] / 10000 ** (torch.arange(0, hidden_size, 2) / hidden_size)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def multiplies(length, hidden_size):
    angle = torch.arange(length)[:, None].double() * 10000 ** (torch.arange(0, hidden_size, 2).double() / hidden_size)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def forgets_the_log(length, hidden_size):
    divisor = torch.exp(-torch.arange(0, hidden_size, 2).float() / hidden_size)
    angle = torch.arange(length)[:, None] * divisor
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def sines_only(length, hidden_size):
    angle = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, hidden_size, 2) / hidden_size)
    return angle.sin().repeat_interleave(2, dim=-1)


def transposed(length, hidden_size):
    return right(length, hidden_size).T


WRONG = [
    (sines_then_cosines, "all sines come before all cosines"),
    (exchanged, "sine and cosine are exchanged"),
    (a_frequency_for_each_feature, "the cosine has a frequency of its own"),
    (half_the_exponent, "the exponent is i/hidden"),
    (base_of_1000, "the base is 1,000"),
    (counts_from_one, "positions are off by one"),
    (multiplies, "not divided by it"),
    (forgets_the_log, "the factor 10,000 is missing"),
    (sines_only, "there are only sines"),
    (transposed, "(hidden, length)"),
]
RIGHT = [right, with_a_batch]
