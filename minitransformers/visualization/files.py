"""Pictures in notebooks and as files."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure

from minitransformers.errors import InputError
from minitransformers.files.atomic import replacing


class Picture(Figure):
    """A matplotlib figure that a notebook shows as the last value of a cell, also without `%matplotlib inline`.

    It does not belong to pyplot: `pyplot.show()` does not show it, and it need not be closed.
    """

    def _repr_png_(self) -> bytes:
        """The picture as a notebook shows it."""
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=self.dpi, bbox_inches="tight")
        return content.getvalue()

    def show(self, warn: bool = True) -> None:
        """Raise an error that says how to see the picture.

        Raises:
            InputError: always; windows belong to pyplot.
        """
        raise InputError(
            "A notebook shows the picture as the last value of a cell, or by display(figure). Elsewhere, save it with "
            'figure.savefig("picture.png").'
        )


def check_suffix(path: Path) -> None:
    """Raise an error for a suffix that is not a format of matplotlib's."""
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix and path.suffix[1:].lower() not in known:
        raise InputError(
            f"path={str(path)!r} ends in {path.suffix!r}; pictures can be saved as {', '.join(sorted(known))}."
        )


def save(figure: Figure, path: Path) -> None:
    """Write the picture in the format of the suffix, PNG without one, and create missing directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix(".") or "png", dpi=150, bbox_inches="tight")
