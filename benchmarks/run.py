"""How fast this library is, beside transformers, ONNX Runtime and CTranslate2.

What it does: for each row, builds the same model with the same random weights in every library (weights of BERT-base,
GPT-2 small and T5-small sizes; times do not depend on their values), compares the results, then times calls in turn, so
that whatever else the machine does hits all alike. Each row has a process of its own. With one thread, times are those
of the processor, which another program's turn does not count in; with several, those of the clock. Prints medians,
quartiles, ratios to transformers with its sdpa attention (above 1: faster), and the share of what the machine can do:
the rate of its matrix products, and of reading memory, measured beside each row. Writes JSON, RESULTS.md and a plot.

    python benchmarks/run.py                              # all rows; about 15 minutes on an idle core
    python benchmarks/run.py encoder greedy --repetitions 5
    python benchmarks/run.py --also eager compiled --threads 2
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="run the rows whose name contains one of these, in this order")
    parser.add_argument("--repetitions", type=int, default=15, help="of the short rows; long ones have fewer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--also", nargs="*", default=[], choices=["eager", "compiled"], help="further contenders")
    parser.add_argument("--tiny", action="store_true", help="small models: to see that everything runs")
    parser.add_argument("--keep", action="store_true", help="keep the rows of an earlier run that are not run again")
    parser.add_argument("--output", type=Path, default=HERE, help="where results.json, RESULTS.md and speed.png go")
    parser.add_argument("--row", help=argparse.SUPPRESS)  # of a child process: run it, and print JSON
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(run_row(arguments)))
        return
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    sys.path.insert(0, str(HERE))
    from rows import ROWS

    arguments.output.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    for name in dict.fromkeys(name for part in arguments.rows or [""] for name in ROWS if part.lower() in name.lower()):
        result = in_a_process(name)
        if result is not None:
            results.append(result)
            print(table([result]), flush=True)
            write(arguments, results)


def in_a_process(name: str) -> dict[str, Any] | None:
    command = [sys.executable, __file__, *sys.argv[1:], "--row", name]
    child = subprocess.run(command, capture_output=True, text=True)
    if child.returncode:
        print(f"{name}: failed\n{child.stderr[-2000:]}")
        return None
    *notes, result = child.stdout.strip().splitlines()
    print(*notes, sep="\n", end="\n" if notes else "")
    return json.loads(result)


def run_row(arguments: argparse.Namespace) -> dict[str, Any]:
    import torch
    from contenders import REFERENCE
    from rows import ROWS, Options

    torch.set_num_threads(arguments.threads)
    row = ROWS[arguments.row](Options(arguments.repetitions, arguments.threads, arguments.tiny, set(arguments.also)))
    results = {name: call() for name, call in row.calls.items()}  # which warms up, too
    differences = {}
    if row.compare is not None:
        differences = {name: row.compare(result, results[REFERENCE]) for name, result in results.items()}
    del results
    by_processor = arguments.threads == 1 and row.in_process
    clock = time.process_time if by_processor else children_time if not row.in_process else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in row.calls}
    walls: dict[str, list[float]] = {name: [] for name in row.calls}
    limits = []
    for repetition in range(row.repetitions):
        limits.append(machine_limits(clock if row.in_process else time.process_time))
        order = list(row.calls.items())
        for name, call in order if repetition % 2 else order[::-1]:
            start, wall = clock(), time.perf_counter()
            call()
            times[name].append(clock() - start)
            walls[name].append(time.perf_counter() - wall)
    product_rate, read_rate = (max(rates) for rates in zip(*limits, strict=True))
    least = max(row.flops / product_rate, row.bytes / read_rate)
    return {
        "row": arguments.row,
        "clock": "processor" if by_processor or not row.in_process else "wall",
        "repetitions": row.repetitions,
        "seconds": {name: quartiles(values) for name, values in times.items()},
        "wall seconds": {name: quartiles(values) for name, values in walls.items()},
        "ratio": {
            name: statistics.median(times[REFERENCE]) / statistics.median(values) for name, values in times.items()
        },
        "difference": differences,
        "unit": row.unit,
        "least seconds": least,
        "product rate": product_rate,
        "read rate": read_rate,
        "peak memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def machine_limits(clock: Callable[[], float]) -> tuple[float, float]:
    """Floating-point operations per second of a matrix product, and bytes per second of reading memory."""
    import torch

    matrix, memory = torch.ones(1024, 1024), torch.ones(32 * 1024 * 1024)
    start = clock()
    matrix @ matrix
    between = clock()
    memory.sum()
    return 2 * 1024**3 / (between - start), 4 * memory.numel() / (clock() - between)


def children_time() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def quartiles(values: list[float]) -> list[float]:
    return statistics.quantiles(values, n=4, method="inclusive")


# ---- writing ---------------------------------------------------------------------------------------------------------


def table(results: list[dict[str, Any]]) -> str:
    """Rows of a Markdown table: a line for each contender."""
    lines = []
    for result in results:
        for name, (low, median, high) in result["seconds"].items():
            difference = result["difference"].get(name)
            share = f"{result['least seconds'] / median:.0%}" if result["least seconds"] and "int8" not in name else ""
            lines.append(
                f"| {result['row']} | {name} | {1000 * median:.1f} ({1000 * low:.1f}–{1000 * high:.1f}) | "
                f"{result['ratio'][name]:.2f} | {share} | {'' if difference is None else f'{difference:.1e}'} |"
            )
    return "\n".join(lines)


def write(arguments: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    import torch
    import transformers
    from rows import ROWS

    machine = {
        "processor": processor(),
        "threads": arguments.threads,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "repetitions": arguments.repetitions,
    }
    path = arguments.output / "results.json"
    if arguments.keep and path.exists():
        new = {result["row"] for result in results}
        results = [
            old for old in json.loads(path.read_text(encoding="utf-8"))["results"] if old["row"] not in new
        ] + results
        results.sort(key=lambda result: list(ROWS).index(result["row"]))
    text = json.dumps({"machine": machine, "results": results}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    head = (HERE / "results_head.md").read_text(encoding="utf-8")
    product = statistics.median(result["product rate"] for result in results) / 1e9
    read = statistics.median(result["read rate"] for result in results) / 1e9
    told = (
        f"{machine['processor']}, {arguments.threads} thread(s), torch {machine['torch']}, transformers "
        f"{machine['transformers']}. Matrix products: {product:.0f} GFLOP/s; reading memory: {read:.1f} GB/s.\n\n"
        "| row | contender | median (quartiles), ms | ratio | of the limit | difference |\n|---|---|---|---|---|---|\n"
    )
    (arguments.output / "RESULTS.md").write_text(f"{head}\n{told}{table(results)}\n", encoding="utf-8")
    plot(results, arguments.output / "speed.png")


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Bars of the ratios to transformers, by row."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = ["plain", "optimized", "optimized int8", "ONNX Runtime", "CTranslate2", "CTranslate2 int8"]
    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.75 * len(results)), layout="constrained")
    height = 0.8 / len(shown)
    for index, name in enumerate(shown):
        at = [y for y, result in enumerate(results) if name in result["ratio"]]
        axes.barh([y + index * height for y in at], [results[y]["ratio"][name] for y in at], height=height, label=name)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks([y + 0.35 for y in range(len(results))], [result["row"] for result in results])
    axes.invert_yaxis()
    axes.set_xlabel("speed, transformers (sdpa) = 1")
    axes.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
