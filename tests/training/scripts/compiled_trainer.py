"""The Trainer with torch.compile, compared with the Trainer without it: `compiled_trainer.py DIRECTORY`."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from parallel_trainers import log_of, trainer
from safetensors import safe_open


def without_timings(record):
    return {name: value for name, value in record.items() if not name.endswith(("_runtime", "_per_second"))}


def main():
    torch.set_num_threads(1)
    plain, compiled = Path(sys.argv[1]) / "plain", Path(sys.argv[1]) / "compiled"
    trainer("epochs", plain).train()
    made = trainer("epochs", compiled, torch_compile_backend="aot_eager")
    assert made.args.torch_compile
    made.evaluate()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0  # evaluation alone is compiled too
    made.train()
    for ours, theirs in zip(log_of(compiled), log_of(plain), strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in without_timings(theirs).items():
            assert abs(ours[name] - value) <= 1e-4 * abs(value), (name, ours, theirs)
    with safe_open(compiled / "checkpoint-6" / "model.safetensors", "pt") as file:
        assert not any("_orig_mod" in name for name in file.keys())  # noqa: SIM118
    uncompiled = trainer("epochs", compiled)
    assert uncompiled.train(resume_from_checkpoint=compiled / "checkpoint-3").global_step == 6


main()
