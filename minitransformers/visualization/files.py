"""Pictures as files."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from minitransformers.errors import InputError
from minitransformers.files.atomic import replacing


def check_suffix(path: Path) -> None:
    """Refuse a path whose suffix names no format that matplotlib can write."""
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix and path.suffix[1:].lower() not in known:
        raise InputError(
            f"path={str(path)!r} ends in {path.suffix!r}; pictures can be saved as {', '.join(sorted(known))}."
        )


def save(figure: Figure, path: Path) -> None:
    """Write the picture in the format of its suffix, PNG where there is none; directories are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix(".") or "png", dpi=150, bbox_inches="tight")
