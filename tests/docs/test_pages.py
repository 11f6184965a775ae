"""The pages of the site: their code runs and prints what they say, and what they name exists.

All pages are run by `.ci/docs`; here are some that are quick.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "tools"))

import check_site  # noqa: E402
import notebooks  # noqa: E402
import pages  # noqa: E402
import run  # noqa: E402

PAGES = sorted(path for path in pages.DOCS.rglob("*.md") if path.name not in ("public_surface.md", "differences.md"))
QUICK = ["concepts/attention.md", "concepts/masks.md", "concepts/positions.md", "tour/bert.md"]


@pytest.mark.parametrize("name", QUICK)
def test_quick_pages_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (pages.DOCS / "pictures").mkdir(exist_ok=True)
    assert run.run(pages.DOCS / name) == len(pages.cells((pages.DOCS / name).read_text("utf-8")))


def test_a_page_that_says_something_else_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(0.125)\n```\n```text\n0.125\n```\n")
    assert run.run(page) == 1
    page.write_text("```python\nprint(0.125)\n```\n```text\n0.225\n```\n")
    with pytest.raises(run.PageError, match="prints"):
        run.run(page)
    assert run.run(page, write=True) == 1
    assert "0.125\n```" in page.read_text()
    page.write_text("```python\n1 / 0\n```\n")
    with pytest.raises(run.PageError, match="line 1"):
        run.run(page)


def test_outputs_may_differ_by_rounding_only() -> None:
    assert run.alike("loss 4.2513", "loss 4.2511")
    assert not run.alike("loss 4.2531", "loss 4.2511")
    assert not run.alike("12 tokens", "13 tokens")
    assert not run.alike("equal: False", "equal: True")
    assert not run.alike("[1, 2]", "[1, 2, 3]")


def test_all_code_compiles_and_all_sources_are_in_the_package() -> None:
    shown = 0
    for path in PAGES:
        page = path.read_text("utf-8")
        for block in pages.blocks(page):
            if block.language == "python":
                compile(block.text, str(path), "exec")
            if block.language == "source":
                for source in pages.sources(block):
                    compile(source.text, source.name, "exec")
                    shown += 1
    assert shown > 60
    with pytest.raises(ValueError, match="has no nothing"):
        pages.sources(pages.Block("source", "minitransformers/nn/masks.py: nothing", 0, 0))


def test_links_and_pictures() -> None:
    drawn = {name for path in PAGES for name in re.findall(r"docs/pictures/([\w.]+)", path.read_text("utf-8"))}
    for path in PAGES:
        text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)|<iframe src=\"([^\"]+)\"", text):
            name = "".join(target)
            if "pictures/" in name:
                assert Path(name).name in drawn, f"{path}: no page draws {name}"
            elif not name.startswith("http"):
                assert (path.parent / name).exists(), f"{path}: {name} is missing"


def test_every_page_is_in_the_navigation_and_every_module_of_the_reference_exists() -> None:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("", lambda loader, suffix, node: None)
    settings = yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), Loader)

    def files(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        values = entry.values() if isinstance(entry, dict) else entry
        return [name for value in values for name in files(value)]

    named = files(settings["nav"])
    assert sorted(named) == sorted(str(path.relative_to(pages.DOCS)) for path in pages.DOCS.rglob("*.md"))
    for path in (pages.DOCS / "api").glob("*.md"):
        for module in re.findall(r"^::: (\S+)$", path.read_text("utf-8"), re.MULTILINE):
            file = ROOT / module.replace(".", "/")
            assert file.with_suffix(".py").is_file() or (file / "__init__.py").is_file(), f"{path}: {module}"


def test_notebooks_are_those_of_the_pages() -> None:
    stored = {path.name: path.read_text("utf-8") for path in notebooks.NOTEBOOKS.glob("*.ipynb")}
    assert stored == notebooks.expected(), "python docs/tools/notebooks.py writes them"


def test_what_is_wrong_with_a_site_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.html").write_text('<p id="here">')
    (tmp_path / "good.html").write_text('<a href="other.html#here"><a href="https://example.com">')
    assert check_site.problems(tmp_path) == []
    (tmp_path / "bad.html").write_text(
        '<link rel="stylesheet" href="https://example.com/a.css"><script src="//example.com/a.js"></script>'
        '<img src="gone.png"><a href="gone.html"><a href="other.html#nowhere">'
    )
    (tmp_path / "bad.css").write_text("@import 'https://example.com/font.css';")
    assert len(check_site.problems(tmp_path)) == 6
