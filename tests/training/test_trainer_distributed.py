"""The Trainer on two processes equals that on one: weights, losses, metrics, predictions, files."""

import shutil

import numpy as np
import pytest
from parallel_trainers import RUNS, log_of, texts, trainer
from safetensors.torch import load_file

from minitransformers import TrainerState

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def without_timings(record):
    return {name: value for name, value in record.items() if not name.endswith(("_runtime", "_per_second"))}


def assert_same_run(directory, expected):
    """All records, and the weights."""
    ours, theirs = (list(map(without_timings, log_of(each))) for each in (directory, expected))
    assert [list(record) for record in ours] == [list(record) for record in theirs]
    for one, other in zip(ours, theirs, strict=True):
        # Half as many, with less padding; and a process without a batch repeats its last one.
        flos = one.pop("total_flos", 0), other.pop("total_flos", 0)
        assert 0.7 * flos[1] <= flos[0] <= 1.5 * flos[1]
        assert one == pytest.approx(other, rel=1e-4, abs=1e-5)
    one, other = (load_file(each / "model" / "model.safetensors") for each in (directory, expected))
    assert one.keys() == other.keys()
    for name, weight in one.items():
        if name.endswith("key.bias"):  # does not change the softmax: its gradient is pure rounding error
            continue
        np.testing.assert_allclose(weight, other[name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_two_processes_and_one(run_script, tmp_path):
    alone = {}
    for name in RUNS:
        made = trainer(name, tmp_path / "alone" / name)
        made.train()
        alone[name] = made.predict(texts(7, 2))
        made.save_model(tmp_path / "alone" / name / "model")
    together = tmp_path / "together"
    together.mkdir()
    printed = run_script("parallel_trainer.py", together, launcher=TORCHRUN)
    for name in RUNS:
        assert_same_run(together / name, tmp_path / "alone" / name)
        files = [{path.name for path in (each / name).iterdir()} for each in (together, tmp_path / "alone")]
        assert files[0] == files[1]
        for rank in range(2 if name != "own" else 0):
            with np.load(together / f"{name}-{rank}.npz") as found:
                np.testing.assert_allclose(found["predictions"], alone[name].predictions, rtol=1e-4, atol=1e-4)
                np.testing.assert_array_equal(found["labels"], alone[name].label_ids)
    for record in log_of(together / "epochs"):
        for name in ("train_runtime", "eval_runtime"):
            if name in record:
                assert f"'{name}': '{record[name]:.4g}'" in printed
    assert printed.count("'train_runtime'") == len(RUNS) + 5  # the number of finished runs

    # The interrupted run, resumed on two processes and then on one.
    assert list(map(without_timings, log_of(together / "killed"))) == list(
        map(without_timings, log_of(together / "epochs"))
    )
    state = TrainerState.load_from_json(together / "killed" / "checkpoint-6" / "trainer_state.json")
    assert state.is_world_process_zero
    shutil.rmtree(together / "killed" / "checkpoint-6")
    on_one = trainer("epochs", together / "killed")
    on_one.train(resume_from_checkpoint=True)
    on_one.save_model(together / "killed" / "model")
    assert_same_run(together / "killed", tmp_path / "alone" / "epochs")
