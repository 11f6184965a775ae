"""What a run writes and reads: the files of its checkpoints, and recipes.

A checkpoint has checksums of its files. After a change they are written again, so that the changed values are restored.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

import minitransformers as mt
from minitransformers.recipes.recipe import Recipe, read_recipe
from minitransformers.training import Settings, train
from minitransformers.training.loop.checkpoint_directories import CHECKSUMS, checksum, files_in

STEPS = 2
CHECKPOINT = f"checkpoint-{STEPS}"
RUN_FILES = ["run.json", "rank-0.json", "shard-00001-model-00001-of-00001.safetensors", "checksums.json"]


def _model() -> Any:
    torch.manual_seed(0)
    sizes = {"n_embd": 4, "n_layer": 1, "n_head": 2, "n_positions": 4, "bos_token_id": 0, "eos_token_id": 0}
    return mt.GPT2LMHeadModel(mt.GPT2Config(vocab_size=9, **sizes))


def _rows() -> list[dict[str, Any]]:
    ids = torch.randint(1, 9, (6, 4), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": row, "labels": row} for row in ids]


def _train(output: Path, steps: int, resume: bool | Path) -> None:
    model = _model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    batches: Any = DataLoader(_rows(), batch_size=2, shuffle=True)  # type: ignore[arg-type]
    train(model, optimizer, schedule, batches, Settings(steps=steps, output_dir=output, resume=resume))


def _trainer(output: Path, steps: int) -> Any:
    arguments = mt.TrainingArguments(
        output_dir=str(output),
        max_steps=steps,
        save_strategy="steps",
        save_steps=steps,
        logging_steps=1,
        per_device_train_batch_size=2,
        use_cpu=True,
        disable_tqdm=True,
    )
    return mt.Trainer(model=_model(), args=arguments, train_dataset=_rows())


def _with_right_checksums(checkpoint: Path) -> Path:
    sums = {str(path.relative_to(checkpoint)): checksum(path) for path in files_in(checkpoint)}
    sums.pop(CHECKSUMS, None)
    (checkpoint / CHECKSUMS).write_text(json.dumps(sums))
    return checkpoint


def _resume(directory: Path, out: Path) -> None:
    _train(out, STEPS + 1, _with_right_checksums(directory / CHECKPOINT))


def _resume_as_it_is(directory: Path, out: Path) -> None:
    _train(out, STEPS + 1, directory / CHECKPOINT)


def _resume_trainer(directory: Path, out: Path) -> None:
    checkpoint = _with_right_checksums(directory / CHECKPOINT)
    _trainer(out, STEPS + 1).train(resume_from_checkpoint=str(checkpoint))


def _recipe(directory: Path) -> None:
    (directory / "rows.csv").write_text("text,label\na b,x\nb,y\n")
    values = {"task": "classify", "data": "rows.csv", "output": "out", "model": "model", "method": "lora", "size": 2}
    values |= {"epochs": 1, "batch-size": 2, "learning_rate": 1e-3, "max_length": 8, "limit": 2, "progress": False}
    (directory / "recipe.yaml").write_text(json.dumps(values))  # JSON is YAML, and is changed value by value


def _yaml_recipe(directory: Path) -> None:
    text = (
        "# of two labels\ntask: classify\ndata: &rows rows.csv\nvalidation: *rows\noutput: out\nlearning_rate: 0.001\n"
    )
    (directory / "recipe.yaml").write_text(text + "epochs: 0x1\nseed: 1_0\nlabel: '2024-01-01'\ntext: !!str text\n")


def _use_recipe(directory: Path, out: Path) -> None:
    repr(Recipe.from_values(read_recipe(str(directory / "recipe.yaml"))))


Parts = tuple[Callable[[Path], object], str, Callable[[Path, Path], object]]
TRAINING: dict[str, Parts] = {
    **{
        f"{name} of a run": (
            lambda directory: _train(directory, STEPS, False),
            f"{CHECKPOINT}/training/{name}",
            _resume_as_it_is if name == "checksums.json" else _resume,
        )
        for name in RUN_FILES
    },
    **{
        f"{name} of a run": (lambda directory: _train(directory, STEPS, False), f"{CHECKPOINT}/{name}", _resume)
        for name in ("config.json", "model.safetensors")
    },
    **{
        f"{name} of a Trainer": (
            lambda directory: _trainer(directory, STEPS).train(),
            f"{CHECKPOINT}/{name}",
            _resume_trainer,
        )
        for name in ("trainer_state.json", "training_args.json", "training/run.json")
    },
    "recipe in JSON": (_recipe, "recipe.yaml", _use_recipe),
    "recipe in YAML": (_yaml_recipe, "recipe.yaml", _use_recipe),
}
