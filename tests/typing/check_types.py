"""Run pyright over the scripts beside this file: no error, and the types that expected.py names in its comments.

python tests/typing/check_types.py
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = ("typical.py", "expected.py")


def findings() -> list[str]:
    """One line for each error of pyright, and for each type that is not as expected."""
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    finished = subprocess.run([*command, *SCRIPTS], cwd=HERE, capture_output=True, text=True, check=False)
    found, inferred = [], {}
    for diagnostic in json.loads(finished.stdout)["generalDiagnostics"]:
        script, line = Path(diagnostic["file"]).name, diagnostic["range"]["start"]["line"] + 1
        if diagnostic["severity"] == "information" and script == "expected.py":
            inferred[line] = re.search(r' is "(.*)"$', diagnostic["message"])[1]
        else:
            found.append(f"{script}:{line}: {diagnostic['message']}")
    for line, text in enumerate((HERE / "expected.py").read_text("utf-8").splitlines(), start=1):
        if text.startswith("reveal_type"):
            expected = text.rpartition("  # ")[2]
            if inferred.get(line) != expected:
                found.append(f"expected.py:{line}: {inferred.get(line)} in place of {expected}")
    return found


if __name__ == "__main__":
    wrong = findings()
    print("\n".join(wrong) or f"No error in {', '.join(SCRIPTS)}; the types are those that they name.")
    sys.exit(bool(wrong))
