"""Checks at the top of scripts: is what is installed new enough?"""

from __future__ import annotations

from minitransformers.errors import InputError, MinitransformersError

FOLLOWED = "5.23.0"  # the version of transformers whose interface this library has


class VersionError(MinitransformersError, ImportError):
    """A package that a script needs is not installed, or in another version."""


def check_min_version(min_version: str) -> None:
    """VersionError where a script was written for a later version of `transformers` than this library follows."""
    from packaging.version import Version

    if Version(min_version) > Version(FOLLOWED):
        raise VersionError(
            f"The script needs transformers {min_version}, and this library has the interface of {FOLLOWED}. Take the "
            f"script as it was then, or leave out check_min_version."
        )


def require_version(requirement: str, hint: str | None = None) -> None:
    """VersionError where a package is not installed, or not in a version that the requirement allows.

    Args:
        requirement: as pip takes it: "datasets>=1.8.0", "python>=3.11".
        hint: what the error says besides.
    """
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(requirement)
    except InvalidRequirement as error:
        raise InputError(f"requirement={requirement!r} must be as pip takes it, such as 'datasets>=1.8.0'.") from error
    advice = f"`pip install '{requirement}'` installs it.{f' {hint}' if hint else ''}"
    try:
        found = platform.python_version() if wanted.name == "python" else version(wanted.name)
    except PackageNotFoundError as error:
        raise VersionError(f"The package {wanted.name} is not installed: {advice}") from error
    if not wanted.specifier.contains(found, prereleases=True):
        raise VersionError(f"{requirement} is needed, and {wanted.name} {found} is installed: {advice}")
