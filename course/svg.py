"""A few shapes of SVG, enough for the pictures of the course."""

from collections.abc import Sequence
from html import escape

INK, LINE, PALE, BLUE, ORANGE, GREEN, GREY = "#1b1b1b", "#555555", "#eef2f7", "#cfe0f5", "#f9dcc4", "#d3ead0", "#e4e4e4"


class Picture:
    """An SVG that is drawn from the upper left; sizes are in pixels.

    Args:
        title: what screen readers say.
        width: of the picture.
        height: of the picture.
    """

    def __init__(self, title: str, width: int, height: int) -> None:
        self.title, self.width, self.height = title, width, height
        self.parts: list[str] = []

    def text(
        self, x: float, y: float, text: str, *, size: int = 13, anchor: str = "middle", bold: bool = False
    ) -> None:
        """Words whose baseline is at y."""
        weight = ' font-weight="bold"' if bold else ""
        place = f'x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}"{weight}'
        self.parts.append(f'<text {place} fill="{INK}">{escape(text)}</text>')

    def box(self, x: float, y: float, width: float, height: float, label: str = "", fill: str = PALE) -> None:
        """A rounded box with a label in its middle; line breaks are kept."""
        shape = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"'
        self.parts.append(f'<rect {shape} fill="{fill}" stroke="{LINE}"/>')
        lines = label.split("\n") if label else []
        for index, line in enumerate(lines):
            self.text(x + width / 2, y + height / 2 + 5 + 16 * (index - (len(lines) - 1) / 2), line)

    def arrow(self, *points: tuple[float, float]) -> None:
        """A line through the points, with a head at its end."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{LINE}" marker-end="url(#head)"/>')

    def curve(self, points: Sequence[tuple[float, float]], colour: str = "#2b6cb0") -> None:
        """A line through many points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')

    def cells(
        self,
        x: float,
        y: float,
        rows: Sequence[Sequence[str]],
        fills: Sequence[Sequence[str]] | str = "#ffffff",
        width: float = 34,
        height: float = 26,
    ) -> None:
        """A table of cells with a text in each."""
        for i, row in enumerate(rows):
            for j, label in enumerate(row):
                fill = fills if isinstance(fills, str) else fills[i][j]
                left, top = x + j * width, y + i * height
                shape = f'x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}"'
                self.parts.append(f'<rect {shape} fill="{fill}" stroke="{LINE}"/>')
                if label:
                    self.text(left + width / 2, top + height / 2 + 4, label, size=12)

    def heat(
        self,
        x: float,
        y: float,
        values: Sequence[Sequence[float]],
        rows: Sequence[str] = (),
        columns: Sequence[str] = (),
        width: float = 46,
        digits: int = 2,
        height: float = 26,
    ) -> None:
        """A table of numbers from −1 to 1, the darker the larger: blue above 0, orange below."""
        labels = [[f"{value:.{digits}f}" if digits >= 0 else "" for value in row] for row in values]
        self.cells(x, y, labels, [[shade(value) for value in row] for row in values], width, height)
        for i, name in enumerate(rows):
            self.text(x - 6, y + i * height + height / 2 + 4, name, size=12, anchor="end")
        for j, name in enumerate(columns):
            self.text(x + j * width + width / 2, y - 6, name, size=12)

    def stack(
        self, x: float, bottom: float, labels: Sequence[tuple[str, str]], width: float = 150, gap: float = 18
    ) -> list[float]:
        """Boxes from the bottom to the top, with arrows between them: the upper edges."""
        edges, height = [], 30
        for index, (label, fill) in enumerate(labels):
            top = bottom - height - index * (height + gap)
            self.box(x - width / 2, top, width, height, label, fill)
            if index:
                self.arrow((x, top + height + gap), (x, top + height + 2))
            edges.append(top)
        return edges

    def svg(self) -> str:
        """The whole file."""
        head = '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
                f'width="{self.width}" height="{self.height}" font-family="sans-serif" role="img">',
                f"<title>{escape(self.title)}</title>",
                f'<defs>{head}<path d="M0,0 L8,4 L0,8 z" fill="{LINE}"/></marker></defs>',
                f'<rect width="{self.width}" height="{self.height}" rx="8" fill="#ffffff"/>',
                *self.parts,
                "</svg>",
                "",
            ]
        )


def shade(value: float) -> str:
    """White at 0, blue at 1, orange at −1; never so dark that black letters are hard to read."""
    full = (120, 170, 225) if value >= 0 else (240, 165, 105)
    share = min(1.0, abs(value))
    return "#" + "".join(f"{round(255 - (255 - channel) * share):02x}" for channel in full)
