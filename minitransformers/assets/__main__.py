"""`python -m minitransformers.assets`: the table of assets; with names, fetch them and print their directories."""

from __future__ import annotations

import sys

from minitransformers.assets import ASSETS, cache_directory, fetch, is_cached
from minitransformers.errors import MinitransformersError


def main(names: list[str]) -> int:
    """Print the table, or fetch the named assets and print their directories."""
    for name in names:
        try:
            print(fetch(name))
        except MinitransformersError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    if not names:
        print(f"{'asset':<18} {'MB':>6}  {'licence':<11} {'cached':<7} what it is")
        for asset in ASSETS.values():
            cached = "yes" if is_cached(asset.name) else "no"
            print(f"{asset.name:<18} {asset.size / 1e6:>6.1f}  {asset.licence:<11} {cached:<7} {asset.what}")
        print(f"\ncache: {cache_directory()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
