"""Checks at the top of scripts: are the installed packages new enough?"""

from __future__ import annotations

from minitransformers.errors import InputError, MinitransformersError

FOLLOWED = "5.23.0"  # the version of transformers whose interface this library has


class VersionError(MinitransformersError, ImportError):
    """A package that a script needs is not installed, or in another version."""


def check_min_version(min_version: str) -> None:
    """Refuse a script that was written for a later version of `transformers` than this library follows.

    Raises:
        VersionError: `min_version` is above `FOLLOWED`.
    """
    from packaging.version import Version

    if Version(min_version) > Version(FOLLOWED):
        raise VersionError(
            f"The script needs transformers {min_version}, and this library has the interface of {FOLLOWED}. Use the "
            f"version of the script for that release, or leave out check_min_version."
        )


def require_version(requirement: str, hint: str | None = None) -> None:
    """Check that a package is installed, in a version that a requirement allows.

    Args:
        requirement: in pip's syntax: "datasets>=1.8.0", "python>=3.11".
        hint: a sentence that is added to the error.

    Raises:
        VersionError: the package is missing, or has another version.
        InputError: `requirement` is not in pip's syntax.
    """
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(requirement)
    except InvalidRequirement as error:
        raise InputError(f"requirement={requirement!r} must be in pip's syntax, such as 'datasets>=1.8.0'.") from error
    advice = f"`pip install '{requirement}'` installs it.{f' {hint}' if hint else ''}"
    try:
        found = platform.python_version() if wanted.name == "python" else version(wanted.name)
    except PackageNotFoundError as error:
        raise VersionError(f"The package {wanted.name} is not installed: {advice}") from error
    if not wanted.specifier.contains(found, prereleases=True):
        raise VersionError(f"{requirement} is needed, and {wanted.name} {found} is installed: {advice}")
