"""Reports of a `Trainer`: metrics on the terminal and in files, and the loggers that `report_to` names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from minitransformers.files.atomic import write_text
from minitransformers.training.loop.logs import JsonLines, Logger, TensorBoard
from minitransformers.training.trainer.arguments import TrainingArguments


def create_loggers(args: TrainingArguments) -> list[Logger]:
    """The loggers of `report_to`."""
    names, loggers = args.report_to or (), list[Logger]()
    if "jsonl" in names:
        loggers.append(JsonLines(args.output_path / "log.jsonl"))
    if "tensorboard" in names:
        loggers.append(TensorBoard(os.environ.get("TENSORBOARD_LOGGING_DIR") or args.output_path / "runs"))
    return loggers


def print_metrics(split: str, metrics: Mapping[str, Any]) -> None:
    """Print one metric per line, aligned: times as h:mm:ss.cc, operations in 2³⁰."""
    print(f"***** {split} metrics *****")
    shown = {name: _as_text(name, value) for name, value in metrics.items()}
    name_width, value_width = max(map(len, shown)), max(map(len, shown.values()))
    for name in sorted(shown):
        print(f"  {name: <{name_width}} = {shown[name]:>{value_width}}")


def _as_text(name: str, value: Any) -> str:
    if "_runtime" in name:
        return f"{timedelta(seconds=int(value))}.{int(value % 1 * 100):02d}"
    if name == "total_flos":
        return f"{int(value) >> 30}GF"
    return f"{round(value, 4) if isinstance(value, float) else value}"


def write_metrics(directory: Path, split: str, metrics: Mapping[str, Any], combined: bool) -> None:
    """Write SPLIT_results.json, and if `combined` add the metrics to all_results.json."""
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / f"{split}_results.json", json.dumps(dict(metrics), indent=4, sort_keys=True))
    if combined:
        path = directory / "all_results.json"
        everything = {**(json.loads(path.read_text("utf-8")) if path.exists() else {}), **metrics}
        write_text(path, json.dumps(everything, indent=4, sort_keys=True))
