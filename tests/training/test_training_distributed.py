"""Training on two processes equals training on one: with DDP, with FSDP2, and from one to the other."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from parallel_runs import HALF, STEPS, build, go, is_tied, log_of
from safetensors import safe_open

import minitransformers as mt

FAMILIES = ["gpt2", "bert"]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A directory of runs on one process."""
    directory = tmp_path_factory.mktemp("runs")
    for family in FAMILIES:
        go(build(family), directory / f"{family}-alone", STEPS)
        go(build(family), directory / f"{family}-alone-half", HALF)
        for kind in ("ddp", "fsdp"):
            shutil.copytree(directory / f"{family}-alone-half", directory / f"{family}-alone-{kind}")
    return directory


def assert_same_run(directory, expected):
    """All losses, gradient norms and metrics, and the final weights."""
    ours, theirs = log_of(directory), log_of(expected)
    assert [record.keys() for record in ours] == [record.keys() for record in theirs]
    assert len([record for record in ours if "eval_loss" in record]) == STEPS // HALF
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-6)
    name = f"checkpoint-{STEPS}/model.safetensors"
    with safe_open(directory / name, "pt") as one, safe_open(expected / name, "pt") as other:
        assert set(one.keys()) == set(other.keys())  # tied weights once, in both
        for key in one.keys():  # noqa: SIM118
            torch.testing.assert_close(one.get_tensor(key), other.get_tensor(key), rtol=1e-4, atol=1e-5)


def test_two_processes_and_one(run_script, runs):
    """Whole runs; DDP → FSDP2 and back; two → one and one → two."""
    run_script("parallel_training.py", runs, launcher=TORCHRUN)
    assert_same_run(runs / "gpt2-full-disk", runs / "gpt2-alone")
    for family in FAMILIES:
        for kind, other in (("ddp", "fsdp"), ("fsdp", "ddp")):
            alone = runs / f"{family}-alone"
            assert_same_run(runs / f"{family}-{kind}", alone)
            assert_same_run(runs / f"{family}-{kind}-{other}", alone)
            assert_same_run(runs / f"{family}-alone-{kind}", alone)
            model = build(family)
            go(model, runs / f"{family}-{kind}-half", STEPS)
            assert is_tied(model)
            assert_same_run(runs / f"{family}-{kind}-half", alone)
            # The shards are in two files; from_pretrained loads the full weights, with the class of the model.
            checkpoint = runs / f"{family}-{kind}" / f"checkpoint-{STEPS}"
            assert len(list((checkpoint / "training").glob("*.safetensors"))) == 2
            loaded = mt.AutoModelForPreTraining.from_pretrained(checkpoint) if family == "bert" else None
            loaded = loaded or mt.GPT2LMHeadModel.from_pretrained(checkpoint)
            assert loaded.config.architectures == [type(loaded).__name__]
            assert is_tied(loaded)


def test_processes_exit_without_aborting(run_script):
    """Late threads of Gloo do not abort a process that is done; without the sleep every third run was aborted."""
    with ThreadPoolExecutor() as several:
        runs = [several.submit(run_script, "ending_processes.py", launcher=TORCHRUN) for _ in range(4)]
        for run in runs:
            run.result()
