"""A process in which a function may hang, use up its memory, crash or write anywhere: each is a result, not a disaster.

for result in run_limited(try_one, range(1000), allowed=[directory]):
    print(result.item, result.kind, result.detail)
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import resource
import select
import signal
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import minitransformers
from minitransformers.errors import MinitransformersError

SECONDS, MEMORY = 5.0, 2**30

_STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "pty.spawn"}
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}


@dataclass(frozen=True)
class Result:
    """What became of one item: "loaded", "refused", or one of the bad kinds: "raw", "hang", "death", "outside"."""

    item: Any
    kind: str
    detail: str = ""

    @property
    def is_bad(self) -> bool:
        return self.kind not in ("loaded", "refused")


def run_limited(
    function: Callable[[Any], object],
    items: Iterable[Any],
    allowed: Iterable[Path],
    seconds: float = SECONDS,
    memory: int = MEMORY,
) -> Iterator[Result]:
    """Call `function` with each item in another process, which is replaced where it hangs or dies.

    Args:
        function: raises nothing, or a MinitransformersError.
        items: given to it one by one.
        allowed: the only directories in which it may write.
        seconds: for each item, of computing.
        memory: bytes that the process may take in addition to what it has at its start.
    """
    worker = None
    for item in items:
        worker = worker or _Worker(function, list(allowed), memory)
        result = worker.run(item, seconds)
        if result.kind in ("hang", "death"):
            worker.close()
            worker = None
        yield result
    if worker is not None:
        worker.close()


class _Worker:
    def __init__(self, function: Callable[[Any], object], allowed: list[Path], memory: int) -> None:
        item_read, item_write = os.pipe()
        result_read, result_write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads, which the child does not use
            self.pid = os.fork()
        if self.pid == 0:
            os.close(item_write), os.close(result_read)
            try:
                _serve(function, allowed, memory, os.fdopen(item_read, "rb"), os.fdopen(result_write, "wb"))
            finally:
                os._exit(0)
        os.close(item_read), os.close(result_write)
        self.items, self.results = os.fdopen(item_write, "wb"), os.fdopen(result_read, "rb")

    def run(self, item: Any, seconds: float) -> Result:
        _send(self.items, item)
        started, end = self._computed(), time.monotonic() + 20 * seconds
        while not select.select([self.results], [], [], 0.2)[0]:
            # In seconds of the processor, because the machine may be busy; a wait counts 20 times less.
            if self._computed() - started > seconds or time.monotonic() > end:
                return Result(item, "hang", f"no end after {seconds} s")
        answer = _receive(self.results)
        if answer is None:
            _, status = os.waitpid(self.pid, 0)
            self.pid = 0
            return Result(
                item, "death", f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {status}"
            )
        return Result(item, *answer)

    def _computed(self) -> float:
        """The seconds that the process has computed."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has died
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self.items.close(), self.results.close()
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def _serve(
    function: Callable[[Any], object], allowed: list[Path], memory: int, items: BinaryIO, results: BinaryIO
) -> None:
    """In the child: run the items that come, until there is no more."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1), os.dup2(quiet, 2)
    warnings.simplefilter("ignore")
    faulthandler.disable()  # a death is a result, which needs no report
    outside: list[str] = []
    _watch(allowed, outside)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (item := _receive(items)) is not None:
        outside.clear()
        try:
            function(item)
            answer = ("loaded", "")
        except MinitransformersError as error:
            answer = ("refused", f"{type(error).__name__}: {error}")
        except BaseException as error:
            answer = ("raw", _described(error))
        _send(results, ("outside", outside[0]) if outside else answer)


def _watch(allowed: list[Path], outside: list[str]) -> None:
    places = tuple(str(path.resolve()) for path in allowed)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _STARTS:
            outside.append(f"{event} {arguments!r:.200}")
        elif event in _CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            for path in arguments[: 2 if event in ("os.rename", "os.link", "os.symlink") else 1]:
                if isinstance(path, (str, bytes, os.PathLike)):
                    whole = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (links are not followed)
                    if not whole.startswith((*places, os.devnull)) and "__pycache__" not in whole:
                        outside.append(f"{event} {whole}")

    sys.addaudithook(hook)


def _described(error: BaseException) -> str:
    """The error, with the innermost line of this library."""
    package = str(Path(minitransformers.__file__).parent)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(package)]
    place = f"{frames[-1].filename.removeprefix(package)[1:]}:{frames[-1].lineno}" if frames else "outside the library"
    return f"{type(error).__name__} at {place}: {str(error)[:200]}"


def _send(stream: BinaryIO, value: Any) -> None:
    encoded = pickle.dumps(value)
    stream.write(struct.pack("<Q", len(encoded)) + encoded)
    stream.flush()


def _receive(stream: BinaryIO) -> Any:
    length = stream.read(8)
    return pickle.loads(stream.read(struct.unpack("<Q", length)[0])) if len(length) == 8 else None
