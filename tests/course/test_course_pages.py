"""The pages of the course: what they point to is there, and their pictures are those of the script."""

import ast
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import adapters
import pictures
import pieces
import pytest

COURSE = Path(pieces.__file__).parent
PAGES = sorted(COURSE.glob("[0-9]*/README.md"))
LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")


def defined(path):
    """Names of the functions and classes of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


@pytest.mark.parametrize("page", [COURSE / "README.md", *PAGES], ids=lambda page: page.parent.name)
def test_links_lead_somewhere(page):
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert links
    for name, target in links:
        assert (page.parent / target).exists(), (name, target)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_pointers_into_the_library_name_what_is_there(page):
    section = page.read_text(encoding="utf-8").partition("## In the library")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("- ")]
    assert lines
    for line in lines:
        ((name, target),) = LINK.findall(line)
        assert target == f"../../minitransformers/{name.strip('`')}"
        names = re.findall(r"`(\w+)`", line.partition(")")[2])
        assert names or target.endswith("checkpoints.py")
        assert set(names) <= defined(page.parent / target) | set(adapters.PIECES), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_a_page_has_all_its_parts(page):
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == ["The maths", "Shapes", "Your task", "Hints", "In the library", "To read"]
    assert text.startswith(f"# {int(page.parent.name[:2])} · ")
    assert "](picture.svg)" in text
    assert f"pytest course/{page.parent.name}\n" in text
    assert text.count("<details>") == text.count("</details>") == text.count("<summary>") >= 2
    assert 250 < len(text.split()) < 900


def test_pictures_are_those_of_the_script():
    files = pictures.files()
    assert set(files) == set(COURSE.glob("*/picture.svg"))
    assert len(files) == len(PAGES)
    for path, text in files.items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run python course/pictures.py"
        root = ElementTree.fromstring(text)
        title = root.find("{http://www.w3.org/2000/svg}title").text
        assert f"![{title}](picture.svg)" in (path.parent / "README.md").read_text(encoding="utf-8")


def test_the_judges_words_on_the_first_page_are_real():
    """The example of the course's README is what the judge says."""
    from minitransformers.testing import CheckError, check_attention

    def attention(query, key, value, mask=None):
        scores = query @ key.transpose(-1, -2)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(-1) @ value

    with pytest.raises(CheckError) as caught:
        check_attention(attention)
    assert f"```\n{caught.value}\n```" in (COURSE / "README.md").read_text(encoding="utf-8")
