"""A bar that shows how a run goes: loss, tokens per second, time left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from minitransformers.training.loop.hooks import Hooks
from minitransformers.utils.logging import tqdm

if TYPE_CHECKING:
    from minitransformers.training.loop.run import Run


class ProgressBar(Hooks):
    """Shows a line on the terminal, by tqdm."""

    def on_train_begin(self, run: Run) -> None:
        """Start where the run starts."""
        self._bar: Any = tqdm(total=run.num_steps, initial=run.progress.step, unit="step", dynamic_ncols=True)
        self._since, self._tokens = time.perf_counter(), run.progress.tokens

    def on_step_end(self, run: Run) -> None:
        """One step on."""
        rate = (run.progress.tokens - self._tokens) / max(time.perf_counter() - self._since, 1e-9)
        self._bar.set_postfix_str(f"{rate:,.0f} tokens/s, loss {run.progress.loss:.4f}", refresh=False)
        self._bar.update()

    def on_train_end(self, run: Run) -> None:
        """Leave the line as it is."""
        self._bar.close()
