"""Write docs/public_surface.md: what of the reference's public surface is here.

python tests/surface/write_page.py
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "parity"))  # as pytest does

import transformers
from surface_decisions import decision
from surface_reading import covered_classes, is_here, module_paths, names_of, rows

from minitransformers.compat.modules import FAMILIES
from minitransformers.compat.names import REMOVED_NAMES, reason

PAGE = Path(__file__).parents[2] / "docs" / "public_surface.md"
UNDECIDED = "UNDECIDED"
HEAD = """# The public surface

Which names of `transformers` {version} this library has. `python tests/surface/write_page.py` writes this page from
both libraries, with the reasons in [`surface_decisions.py`](../tests/surface/surface_decisions.py) and in
[`names.py`](../minitransformers/compat/names.py), which error messages show too. A test fails when the page is not up
to date, or when a name has no decision.

- **here**: an attribute of that name, which takes the arguments that the reference's takes, in its order.
- **not here**: left out on purpose; the reason says what to use.
- **in name only**: here, with other arguments.

{classes} classes have {attributes} attributes: {here} are here, {missing} are not, {name_only} are in name only.
Attributes of a base class are listed there once. [differences.md](differences.md) lists the differences in behaviour.
"""


def page() -> str:
    """The text of the page."""
    here, others = defaultdict(list), defaultdict(lambda: defaultdict(list))
    counts = {"here": 0, "missing": 0, "name_only": 0}
    for row in rows():
        if not row.difference:
            here[row.owner].append(row.attribute)
            counts["here"] += 1
            continue
        why = decision(row.owner, row.attribute, row.difference) or UNDECIDED
        kind = "not here" if row.difference == "missing" else "in name only"
        counts["missing" if row.difference == "missing" else "name_only"] += 1
        shown = f"`{row.attribute}`" if row.difference == "missing" else f"`{row.attribute}` ({row.difference})"
        others[row.owner][kind, why].append(shown)
    classes = [name for name in covered_classes() if here[name] or others[name]]
    head = HEAD.format(
        version=transformers.__version__.rpartition(".")[0],
        classes=len(classes),
        attributes=sum(counts.values()),
        **counts,
    )
    lines = [head, "## Classes", ""]
    for name in classes:
        lines.append(f"### {name}")
        if here[name]:
            lines.append(f"- here: {', '.join(f'`{attribute}`' for attribute in here[name])}")
        for (kind, why), shown in sorted(others[name].items()):
            lines.append(f"- {kind}: {', '.join(shown)} — {why}")
        lines.append("")
    return "\n".join([*lines, *_names()])


def _names() -> list[str]:
    """The sections on names that modules have."""
    lines = ["## Names of modules", ""]
    missing: dict[str, set[str]] = defaultdict(set)
    for path in module_paths():
        names = names_of(path)
        present = [name for name in names if is_here(path, name)]
        for name in set(names) - set(present):
            missing[explained(path, name)].add(name)
        if path and names:
            lines.append(f"- `{path}`: {len(present)} of {len(names)}: {', '.join(f'`{name}`' for name in present)}")
    lines += ["", "## Names that are not here", ""]
    for why, names in sorted(missing.items()):
        listed = sorted(names)[:12] if why == OTHER_FAMILY else sorted(names)
        more = f" and {len(names) - len(listed)} more" if len(listed) < len(names) else ""
        lines.append(f"- {why}: {', '.join(f'`{name}`' for name in listed)}{more}")
    return [*lines, ""]


OTHER_FAMILY = "its family is not covered"
OWN_TESTS = "it serves the tests of transformers; minitransformers.testing has laws for models"


def explained(path: str, name: str) -> str:
    """Why a name of one of the reference's modules is not here."""
    if path in ("testing_utils", "utils.doc"):
        return OWN_TESTS if path == "testing_utils" else "it writes the documentation of transformers"
    module = getattr(transformers, "_class_to_module", {}).get(name, "")
    if path == "" and module.startswith("models.") and module.split(".")[1] not in {*FAMILIES, "auto"}:
        return OTHER_FAMILY
    return REMOVED_NAMES.get(name) or reason(name) or UNDECIDED


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    PAGE.write_text(page(), "utf-8")
    print(f"{PAGE} has {len(rows())} attributes of {len(covered_classes())} classes.")
