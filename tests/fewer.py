"""Fewer drawn examples for tests that are dear, or that only repeat what another draws in full."""

from __future__ import annotations

from hypothesis import settings


def fewer(divisor: int) -> settings:
    """A part of the profile's examples, two at least."""
    return settings(max_examples=max(2, settings.default.max_examples // divisor))
