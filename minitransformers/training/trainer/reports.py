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
from minitransformers.training.trainer.standard_callbacks import DefaultFlowCallback, LossCurveCallback
from minitransformers.training.trainer.wandb_callback import WandbCallback


def create_loggers(args: TrainingArguments) -> list[Logger]:
    """The loggers of `report_to`."""
    names, loggers = args.report_to or (), list[Logger]()
    if "jsonl" in names:
        loggers.append(JsonLines(args.output_path / "log.jsonl"))
    if "tensorboard" in names:
        loggers.append(TensorBoard(os.environ.get("TENSORBOARD_LOGGING_DIR") or args.output_path / "runs"))
    return loggers


def create_callbacks(args: TrainingArguments) -> list[Any]:
    """The callbacks that every Trainer has first, and those of `report_to`."""
    callbacks: list[Any] = [DefaultFlowCallback]
    if "loss_curve" in (args.report_to or ()):
        callbacks.append(LossCurveCallback)
    if "wandb" in (args.report_to or ()):
        callbacks.append(WandbCallback)
    return callbacks


def metrics_format(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics as people read them: seconds as 0:00:00.00, operations in 2³⁰ (GF), other numbers with 4 decimals."""
    return {name: _readable(name, value) for name, value in metrics.items()}


def _readable(name: str, value: Any) -> Any:
    if "_runtime" in name:
        return f"{timedelta(seconds=int(value))}.{int(abs(value - int(value)) * 100):02d}"
    if name == "total_flos":
        return f"{int(value) >> 30}GF"
    return round(value, 4) if isinstance(value, float) else value


def print_metrics(split: str, metrics: Mapping[str, Any]) -> None:
    """Print one metric per line, aligned."""
    print(f"***** {split} metrics *****")
    shown = {name: str(value) for name, value in metrics_format(metrics).items()}
    name_width, value_width = max(map(len, shown)), max(map(len, shown.values()))
    for name in sorted(shown):
        print(f"  {name: <{name_width}} = {shown[name]:>{value_width}}")


def write_metrics(directory: Path, split: str, metrics: Mapping[str, Any], combined: bool) -> None:
    """Write SPLIT_results.json, and if `combined` add the metrics to all_results.json."""
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / f"{split}_results.json", json.dumps(dict(metrics), indent=4, sort_keys=True))
    if combined:
        path = directory / "all_results.json"
        everything = {**(json.loads(path.read_text("utf-8")) if path.exists() else {}), **metrics}
        write_text(path, json.dumps(everything, indent=4, sort_keys=True))
