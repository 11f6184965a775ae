"""The course's own modules, `pieces` and `adapters`, can be imported as in a run of `pytest course`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "course"))
