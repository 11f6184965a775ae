"""The Trainer on two processes: `torchrun --nproc-per-node 2 parallel_trainer.py DIRECTORY`."""

import contextlib
import io
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[1]))

from parallel_trainers import ROWS, RUNS, texts, trainer

import minitransformers as mt
from minitransformers.training.loop.distributed import gather_interleaved, rank

WRITTEN = []


def note(event, arguments):
    """The files that this process writes."""
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir"):
        WRITTEN.append(str(arguments[0]))


class Stop(mt.TrainerCallback):
    """Only the main process requests the end."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.is_world_process_zero and state.global_step == 3:
            control.should_training_stop = True


class Killed(mt.TrainerCallback):
    """Interrupts the run after a checkpoint."""

    def on_save(self, args, state, control, **kwargs):
        raise KeyboardInterrupt


def every_example_once(directory):
    """Groups of similar lengths, drawn from generators that differ between the processes."""
    seen = []

    class Noting(list):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    made = trainer("", directory, train_sampling_strategy="group_by_length", num_train_epochs=1, save_strategy="no")
    made.train_dataset = Noting(texts(ROWS, 1))
    made.train()
    for epoch in range(2):
        torch.manual_seed(rank() + epoch)
        loader = made.get_train_dataloader()
        seen.clear()
        for _ in loader:
            pass
        assert sorted(gather_interleaved(seen)) == list(range(ROWS)), seen


def main():
    torch.set_num_threads(1)
    directory = Path(sys.argv[1])
    args = mt.TrainingArguments(str(directory / "first"), use_cpu=True)
    assert (args.world_size, args.process_index, args.local_process_index) == (2, rank(), rank())
    assert dist.get_backend() == "gloo"
    with args.main_process_first():
        marks = len(list(directory.glob("mark-*")))
        assert marks == 0 if rank() == 0 else marks >= 1
        (directory / f"mark-{rank()}").touch()

    sys.addaudithook(note)
    for name in RUNS:
        made = trainer(name, directory / name)
        assert made.is_world_process_zero() == made.state.is_world_process_zero == (rank() == 0)
        output = made.train()
        assert output.global_step == made.state.global_step
        predicted = made.predict(texts(7, 2))
        made.save_model(directory / name / "model")
        if made.compute_metrics is not None:
            np.savez(directory / f"{name}-{rank()}.npz", predictions=predicted.predictions, labels=predicted.label_ids)
    # Each process writes its random states and position in the data, and its shards of the tensors.
    if rank() == 1:
        names = {Path(path).name for path in WRITTEN if str(directory) in path and not path.endswith("-1.npz")}
        assert names == {"training", "rank-1.json", "shard-00002-model-00001-of-00001.safetensors"}, names

    with contextlib.suppress(KeyboardInterrupt):
        trainer("epochs", directory / "killed", callbacks=[Killed()]).train()
    resumed = trainer("epochs", directory / "killed")
    assert resumed.train(resume_from_checkpoint=True).global_step == 6
    assert resumed.state.is_world_process_zero == (rank() == 0)
    assert resumed.state.best_model_checkpoint is not None

    stopped = trainer("", directory / "stopped", callbacks=[Stop()], eval_strategy="no", num_train_epochs=9)
    assert stopped.train().global_step == 3
    assert stopped.evaluate(texts(1, 5))["eval_number"] == 1  # fewer examples than processes
    again = trainer("", directory / "twice", max_steps=1, save_strategy="no")
    assert again.train().training_loss > again.train().training_loss
    every_example_once(directory / "lengths")


said = io.StringIO()
with contextlib.redirect_stdout(said):
    main()
assert rank() == 0 or not said.getvalue(), said.getvalue()  # only the main process prints
print(said.getvalue())
