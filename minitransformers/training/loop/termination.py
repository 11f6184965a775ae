"""SIGTERM during a run: the step is finished, a checkpoint is written, and the process exits with status 0.

Schedulers of clusters, `docker stop` and `torchrun` send SIGTERM some seconds before they kill a process. The same
command continues the run later as if it had not been interrupted.
"""

from __future__ import annotations

import logging
import signal
import threading
from types import TracebackType
from typing import Any

logger = logging.getLogger(__name__)


class Termination:
    """Notes SIGTERM while a `with` block runs, unless the script handles that signal itself.

    Attributes:
        is_requested: whether the signal has arrived.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        is_main_thread = threading.current_thread() is threading.main_thread()  # others cannot handle signals
        self.enabled = enabled and is_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        self.is_requested = False

    def __enter__(self) -> Termination:
        if self.enabled:
            signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.enabled:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self.is_requested and kind is None:  # it arrived in the last step
            raise SystemExit(0)

    def _note(self, *_: Any) -> None:
        self.is_requested = True
        logger.warning("SIGTERM: the run ends after this step, with a checkpoint.")
