"""`python -m minitransformers.assets`: list the assets, or fetch those named and print their directories."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from minitransformers.assets import ASSETS, cache_directory, fetch, is_cached
from minitransformers.errors import MinitransformersError

ABOUT = """\
Real weights, tokenizers and texts for the examples, tests and benchmarks.

Without a name, lists the assets with their licence and size. With names, downloads those that the cache lacks and
prints the directory of each, which from_pretrained takes. The cache is $MINITRANSFORMERS_CACHE, else
$XDG_CACHE_HOME/minitransformers, else ~/.cache/minitransformers.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or fetch the named assets and print their directories; 1 after an error, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        "python -m minitransformers.assets",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="an asset, such as minilm")
    names: list[str] = parser.parse_args(arguments).names
    try:
        for name in names:
            print(fetch(name))
    except MinitransformersError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. What was downloaded completely is kept.", file=sys.stderr)
        return 130
    if not names:
        _print_table()
    return 0


def _print_table() -> None:
    licences = max(len(asset.licence) for asset in ASSETS.values())
    print(f"{'asset':<18} {'MB':>6}  {'licence':<{licences}}  {'cached':<6}  description")
    for asset in ASSETS.values():
        cached = "yes" if is_cached(asset.name) else "no"
        print(f"{asset.name:<18} {asset.size / 1e6:>6.1f}  {asset.licence:<{licences}}  {cached:<6}  {asset.what}")
    print(f"\ncache: {cache_directory()}")


if __name__ == "__main__":
    sys.exit(main())
