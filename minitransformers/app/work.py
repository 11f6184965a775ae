"""A bounded amount of work: some texts are generated at the same time, some more wait in turn, all others are refused.

Each text is an iterator that a thread runs, and that ends when nobody wants it any more.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Start = Callable[[], Iterator[dict[str, Any]]]
Deliver = Callable[[dict[str, Any] | BaseException | None], object]


class IsFullError(Exception):
    """There is no place in the queue; `seconds` is when to try again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"no place before about {seconds} s")
        self.seconds = seconds


@dataclass
class Job:
    """One text: `start` makes its iterator, and `deliver` gets its items, then None or the error that ended it."""

    start: Start
    deliver: Deliver
    state: str = "waiting"
    left: threading.Event = field(default_factory=threading.Event)


class Work:
    """The threads that generate, and the queue before them.

    Args:
        running: how many texts are generated at the same time.
        waiting: how many more may wait.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self.most_running, self.most_waiting = running, waiting
        self.running = self.waiting = 0
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._seconds = 5.0  # what a text takes, averaged over the latest ones
        self._threads: list[threading.Thread] = []

    def submit(self, start: Start, deliver: Deliver) -> Job:
        """Put a text at the end of the queue.

        Raises:
            IsFullError: as many texts wait as may.
        """
        job = Job(start, deliver)
        with self._lock:
            if self.running + self.waiting >= self.most_running + self.most_waiting:
                turns = (self.waiting + 1) / self.most_running
                raise IsFullError(min(max(math.ceil(turns * self._seconds), 1), 120))
            self.waiting += 1
            if len(self._threads) < self.most_running:
                self._threads.append(threading.Thread(target=self._serve, daemon=True))
                self._threads[-1].start()
        self._jobs.put(job)
        return job

    def leave(self, job: Job) -> None:
        """Give a text up: it ends after its present step, or is never started. Its place is free at once."""
        job.left.set()
        with self._lock:
            if job.state == "waiting":
                job.state = "left"
                self.waiting -= 1

    def close(self) -> None:
        """Let the threads end once they have nothing to do."""
        for _ in self._threads:
            self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            with self._lock:
                if job.state == "left":
                    continue
                job.state = "running"
                self.waiting -= 1
                self.running += 1
            started, end = time.monotonic(), None
            try:
                for item in job.start():
                    if job.left.is_set():
                        break
                    job.deliver(item)
            except BaseException as error:  # whatever it is, the reader gets to know it, and the thread goes on
                end = error
            with self._lock:
                job.state = "done"
                self.running -= 1
                self._seconds += 0.2 * (time.monotonic() - started - self._seconds)
            job.deliver(end)
