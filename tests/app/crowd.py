"""The app's server under a crowd: counts answers, and measures how long they take and what the server takes up.

    python tests/app/crowd.py [--clients 100] [--seconds 120]

A script and not a test of the suite. Each client asks for a text, reads it, and asks again after a while that is chosen
at random. Every tenth vanishes in the middle of its texts, and ten more connections send a request very slowly. Prints
the numbers of answers by kind, the median and the 95th percentile of the time to the end of a text, and the server's
memory, threads and open files at the beginning and at the end. Exits with 1 if a client that stayed got no answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tiny_session import byte_tokenizer, tiny_model

BODY = json.dumps({"prompt": "To be", "settings": {"strategy": "sample", "max_new_tokens": "8"}}).encode()
HEAD = "POST /generate HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"


async def ask(port: int, vanish: bool) -> str:
    """One text; what became of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{HEAD}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
        await writer.drain()
        if vanish:
            await asyncio.sleep(random.uniform(0, 0.5))
            return "vanished"
        answer = (await asyncio.wait_for(reader.read(), 60)).decode()
    finally:
        writer.close()
    status = answer.partition(" ")[2][:3]
    if status == "200" and '"done"' not in answer:
        return "cut off"
    if status == "503" and "retry-after" not in answer.lower():
        return "503 without Retry-After"
    return status or "no answer"


async def client(port: int, number: int, end: float, kinds: Counter[str], times: list[float]) -> None:
    """Ask, read, wait, and ask again."""
    while time.monotonic() < end:
        started = time.monotonic()
        try:
            kind = await ask(port, vanish=number % 10 == 0)
        except (OSError, TimeoutError) as error:
            kind = f"{type(error).__name__}"
        kinds[kind] += 1
        if kind == "200":
            times.append(time.monotonic() - started)
        await asyncio.sleep(random.uniform(0.5, 1.5) * THINKING)


THINKING = 10.0  # seconds between the texts of a client, on average


async def slow(port: int, end: float, kinds: Counter[str]) -> None:
    """A request that comes letter by letter."""
    while time.monotonic() < end:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for letter in HEAD:
                writer.write(letter.encode())
                await writer.drain()
                await asyncio.sleep(1)
        except OSError:
            kinds["slow ones that were sent away"] += 1
        finally:
            writer.close()


def taken(pid: int) -> dict[str, int]:
    """What a process takes up."""
    status = Path(f"/proc/{pid}/status").read_text()
    memory, threads = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "Threads"))
    return {"MiB": memory // 1024, "threads": threads, "files": len(list(Path(f"/proc/{pid}/fd").iterdir()))}


async def crowd(port: int, pid: int, clients: int, seconds: float) -> int:
    """Let all clients ask, and print what became of it."""
    kinds: Counter[str] = Counter()
    times: list[float] = []
    await ask(port, vanish=False)  # the first text loads what is loaded once
    before, end = taken(pid), time.monotonic() + seconds
    asking = [client(port, number, end, kinds, times) for number in range(clients)]
    await asyncio.gather(*asking, *(asyncio.wait_for(slow(port, end, kinds), seconds + 60) for _ in range(10)))
    await asyncio.sleep(2)
    print("answers:", dict(kinds))
    print(f"texts: {len(times)}; median {statistics.median(times):.2f} s, ", end="")
    print(f"95 % within {statistics.quantiles(times, n=20)[-1]:.2f} s")
    print("server before:", before, "after:", taken(pid))
    fine = {"200", "503", "vanished", "slow ones that were sent away"}
    return sum(number for kind, number in kinds.items() if kind not in fine)


def main() -> int:
    """Start the server, and the crowd."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        tiny_model().save_pretrained(directory)
        byte_tokenizer().save_pretrained(directory)
        command = [sys.executable, "-m", "minitransformers", "app", "--model", directory, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                port = next(int(found[1]) for line in server.stdout if (found := re.search(r":(\d+)/ in a", line)))
                return int(asyncio.run(crowd(port, server.pid, options.clients, options.seconds)) > 0)
            finally:
                server.terminate()


if __name__ == "__main__":
    sys.exit(main())
