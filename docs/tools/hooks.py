"""What mkdocs does to the pages besides Markdown: code of the package, formulas as MathML, links to the files.

Formulas become MathML here, when the site is built: a reader's browser needs no script and no font from elsewhere.
"""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

sys.path.insert(0, str(Path(__file__).parent))
from pages import blocks, sources

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_FILE_LINK = re.compile(
    r"\[([^\]]+)\]\((?:\.\./)+(?:minitransformers|tests|examples|benchmarks|course|[A-Z]+\.md)[^)]*\)"
)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the code of the package into ```source blocks; links to files outside of the site become their text."""
    for block in reversed(blocks(markdown)):
        if block.language == "source":
            shown = "\n".join(_shown(each) for each in sources(block))
            markdown = markdown[: block.start] + shown + markdown[block.end :]
    return _FILE_LINK.sub(r"\1", markdown)


def _shown(source: Any) -> str:
    title = f"{source.file}, lines {source.first} to {source.last}"
    return f'```python title="{title}"\n{source.text}\n```\n'


def on_page_content(content: str, **_: Any) -> str:
    """Turn the formulas that the Markdown extension has marked into MathML."""
    return _FORMULA.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    display = "block" if found[2] == "[" else "inline"
    formula = convert(html.unescape(found[3]).strip(), display=display)
    return f'<div class="formula">{formula}</div>' if display == "block" else formula
