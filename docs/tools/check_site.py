"""Check the built site: links inside it lead somewhere, and nothing is loaded from another machine.

python docs/tools/check_site.py out/site
"""

from __future__ import annotations

import argparse
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}
_LOADING_LINKS = {"stylesheet", "icon", "preload", "preconnect", "prefetch", "modulepreload", "manifest"}
_OUTSIDE_IN_CSS = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//")


class Page(HTMLParser):
    """What a page links to and loads, and the places in it that can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note ids, links and what is loaded."""
        values = {name: value or "" for name, value in attributes}
        self.ids |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in _LOADING and values.get(_LOADING[tag]):
            self.loads.append(values[_LOADING[tag]])
        if tag == "link" and _LOADING_LINKS & set(values.get("rel", "").split()):
            self.loads.append(values.get("href", ""))


def problems(site: Path) -> list[str]:
    """One line for each broken link and each thing that is loaded from elsewhere."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        place = path.relative_to(site)
        for target in page.loads:
            if urlsplit(target).netloc:
                found.append(f"{place} loads {target}")
            elif not _file(site, path, target).is_file() and not target.startswith("data:"):
                found.append(f"{place} loads {target}, which is missing")
        for target in page.links:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue  # a reader may follow a link to another site; nothing is loaded
            file = _file(site, path, target)
            if not file.is_file():
                found.append(f"{place} links to {target}, which is missing")
            elif parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].ids:
                found.append(f"{place} links to {target}, which has no such place")
    for path in sorted(site.rglob("*.css")):
        if _OUTSIDE_IN_CSS.search(path.read_text("utf-8")):
            found.append(f"{path.relative_to(site)} loads from another machine")
    return found


def _file(site: Path, page: Path, target: str) -> Path:
    path = unquote(urlsplit(target).path)
    file = page if not path else site / path.lstrip("/") if path.startswith("/") else (page.parent / path).resolve()
    return file / "index.html" if file.is_dir() else file


def main() -> int:
    """Print the problems; the exit status is 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path)
    site = parser.parse_args().site.resolve()
    found = problems(site)
    print("\n".join(found[:50]))
    count = len(list(site.rglob("*.html")))
    print(f"{count} pages checked: {len(found)} problems.")
    return int(bool(found) or not count)


if __name__ == "__main__":
    sys.exit(main())
