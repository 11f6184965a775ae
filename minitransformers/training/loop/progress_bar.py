"""A progress bar with the loss, the speed and the remaining time of a run."""

from __future__ import annotations

import time
from typing import Any

from minitransformers.training.loop.hooks import Hooks
from minitransformers.training.loop.run import Run
from minitransformers.utils.logging import tqdm


class ProgressBar(Hooks):
    """One line on the terminal, drawn by tqdm."""

    def on_train_begin(self, run: Run) -> None:
        """Open the bar at the step where the run begins."""
        self._bar: Any = tqdm(total=run.num_steps, initial=run.progress.step, unit="step", dynamic_ncols=True)
        self._since, self._tokens = time.perf_counter(), run.progress.tokens

    def on_step_end(self, run: Run) -> None:
        """Advance the bar by one step."""
        rate = (run.progress.tokens - self._tokens) / max(time.perf_counter() - self._since, 1e-9)
        self._bar.set_postfix_str(f"{rate:,.0f} tokens/s, loss {run.progress.loss:.4f}", refresh=False)
        self._bar.update()

    def on_train_end(self, run: Run) -> None:
        """Close the bar; it stays on the terminal."""
        self._bar.close()
