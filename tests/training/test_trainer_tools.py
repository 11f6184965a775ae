"""Functions of trainer_pt_utils and trainer_utils, compared with transformers on the same input."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch.utils.data import IterableDataset

from minitransformers import InputError

PT = [importlib.import_module(f"{library}.trainer_pt_utils") for library in ("transformers", "minitransformers")]
UTILS = [importlib.import_module(f"{library}.trainer_utils") for library in ("transformers", "minitransformers")]


def same(own: Any, their: Any) -> None:
    assert type(own) is type(their)
    if isinstance(their, dict):
        assert own.keys() == their.keys()
        own, their = list(own.values()), list(their.values())
    if isinstance(their, list | tuple):
        assert len(own) == len(their)
        for one, other in zip(own, their, strict=True):
            same(one, other)
    elif isinstance(their, torch.Tensor):
        torch.testing.assert_close(own, their, rtol=0, atol=0)
    elif isinstance(their, np.ndarray):
        assert own.dtype == their.dtype
        np.testing.assert_array_equal(own, their)
    else:
        assert own == their


def nested(rows: int, length: int, seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(rows, length, 2, generator=generator)
    return (matrix, [torch.arange(rows)], {"a": torch.ones(rows, length, dtype=torch.bfloat16)})


@given(rows=st.tuples(st.integers(1, 3), st.integers(1, 3)), lengths=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_nested_values(rows: tuple[int, int], lengths: tuple[int, int]) -> None:
    first, second = (nested(*each, seed) for seed, each in enumerate(zip(rows, lengths, strict=True)))
    found = []
    for library in PT:
        joined = library.nested_concat(first, second, padding_index=-7)
        arrays = library.nested_numpify(first), library.nested_numpify(second)
        container = library.EvalLoopContainer(padding_index=-7)
        for each in (first, second):
            container.add(each)
            container.to_cpu_and_numpy()
        parts = library.EvalLoopContainer(do_nested_concat=False)
        parts.add(first)
        found.append(
            [
                joined,
                arrays,
                library.nested_concat(*arrays, padding_index=-7),
                library.nested_truncate(first, 1),
                library.nested_detach((torch.ones(2, requires_grad=True), "text")),
                library.find_batch_size({"a": "text", "b": [torch.tensor(1), first]}),
                library.expand_like(np.ones((2, 3)), 5),
                library.nested_new_like([np.ones((2, 3))], 4),
                library.atleast_1d(torch.tensor(3)),
                container.get_arrays(),
                parts.get_arrays(),
            ]
        )
    same(found[1], found[0])
    for library in UTILS:
        metrics = {"a": np.float32(1.5), "b": [torch.tensor(2)], "c": "text", "d": torch.ones(2)}
        found.append(library.denumpify_detensorize(metrics))
    same(found[-1], found[-2])


def test_values_that_cannot_be_joined() -> None:
    with pytest.raises(InputError, match="list and tuple cannot be joined"):
        PT[1].nested_concat([torch.ones(1)], (torch.ones(1),))
    with pytest.raises(InputError, match="str cannot be joined: pass tensors or arrays"):
        PT[1].nested_concat("a", "b")
    with pytest.raises(InputError, match="needs several processes"):
        PT[1].distributed_concat(torch.ones(1))


class Counted(IterableDataset[int]):
    def __init__(self, size: int) -> None:
        self.size, self.generator = size, torch.Generator()

    def __iter__(self) -> Any:
        return iter(torch.randperm(self.size, generator=self.generator).tolist())

    def __len__(self) -> int:
        return self.size


@given(
    size=st.integers(1, 23),
    batch=st.integers(1, 4),
    ranks=st.integers(1, 3),
    drop_last=st.booleans(),
    epoch=st.integers(0, 2),
)
def test_samplers(size: int, batch: int, ranks: int, drop_last: bool, epoch: int) -> None:
    lengths = torch.randint(1, 9, (size,), generator=torch.Generator().manual_seed(size)).tolist()
    rows = [{"input_ids": [0] * length} for length in lengths]
    found: list[list[Any]] = []
    for library in PT:
        results: list[Any] = []
        torch.manual_seed(0)
        results.append(library.get_length_grouped_indices(lengths, batch))
        results.append(list(library.LengthGroupedSampler(batch, dataset=rows)))
        results.append(list(library.LengthGroupedSampler(batch, lengths=torch.tensor(lengths))))
        for rank in range(ranks):
            arguments = {"num_replicas": ranks, "rank": rank}
            if size >= ranks or not drop_last:
                grouped = library.DistributedLengthGroupedSampler(batch, rows, drop_last=drop_last, seed=2, **arguments)
                grouped.set_epoch(epoch)
                results += [list(grouped), len(grouped)]
            looped = library.DistributedSamplerWithLoop(rows, batch_size=batch, shuffle=False, **arguments)
            results.append(list(looped))
            shared = {"num_processes": ranks, "process_index": rank, "drop_last": drop_last, "batch_size": batch}
            sampler = library.ShardSampler(rows, **shared)
            results += [list(sampler), len(sampler)]
            stream = library.IterableDatasetShard(Counted(size), seed=3, **shared)
            stream.set_epoch(epoch)
            results += [list(stream), len(stream), stream.num_examples]
        found.append(results)
    assert found[1] == found[0]


def test_files_of_checkpoints(tmp_path: Path) -> None:
    for library in UTILS:
        folder = tmp_path / library.__name__
        for step in (5, 10, 9, 25):
            (folder / f"checkpoint-{step}").mkdir(parents=True)
        (folder / "checkpoint-nothing").mkdir()
        names = [Path(each).name for each in library.sort_checkpoints(str(folder))]
        assert names == ["checkpoint-5", "checkpoint-9", "checkpoint-10", "checkpoint-25"]
        best = str(folder / "checkpoint-5")
        names = [Path(each).name for each in library.sort_checkpoints(str(folder), best_model_checkpoint=best)]
        assert names == ["checkpoint-9", "checkpoint-10", "checkpoint-5", "checkpoint-25"]
        library.rotate_checkpoints(str(folder), save_total_limit=None)
        assert len(library.sort_checkpoints(str(folder))) == 4
        library.rotate_checkpoints(str(folder), save_total_limit=2, best_model_checkpoint=best)
        assert [Path(each).name for each in library.sort_checkpoints(str(folder))] == ["checkpoint-5", "checkpoint-25"]


def test_small_functions() -> None:
    from functools import partial

    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3))
    model[0].bias.requires_grad = False
    for pt, utils in zip(PT, UTILS, strict=True):
        assert pt.get_model_param_count(model) == 15
        assert pt.get_model_param_count(model, trainable_only=True) == 12
        assert pt.get_module_class_from_name(model, "LayerNorm") is torch.nn.LayerNorm
        assert pt.get_module_class_from_name(model, "Conv") is None
        assert utils.number_of_arguments(partial(lambda one, two, three: None, 1, two=2)) == 1
        assert utils.has_length([]) is True
        assert utils.has_length(iter([])) is False
        assert utils.default_compute_objective({"eval_loss": 2, "epoch": 1, "eval_runtime": 4}) == 2
        assert utils.default_compute_objective({"eval_loss": 2, "eval_a": 1, "eval_b": 4, "epoch": 1}) == 5
        collator = utils.RemoveColumnsCollator(list, ["a"])
        assert collator([{"a": 1, "b": 2}, {"b": 3}]) == [{"a": 1}, {}]
        assert utils.BestRun("1", 0.5, {"a": 1}) == ("1", 0.5, {"a": 1}, None)
        assert [each.value for each in utils.HPSearchBackend] == ["optuna", "ray", "wandb"]
        assert [each.value for each in utils.FSDPOption][:2] == ["full_shard", "shard_grad_op"]

        tried = []

        @utils.find_executable_batch_size(starting_batch_size=100, auto_find_batch_size=True)
        def run(batch_size: int, word: str) -> tuple[int, str]:
            tried.append(batch_size)  # noqa: B023
            if batch_size > 80:
                raise RuntimeError("CUDA out of memory. Tried to allocate")
            return batch_size, word

        assert run("a") == (72, "a")
        assert tried == [100, 90, 81, 72]
        plain = utils.find_executable_batch_size(lambda batch_size: batch_size, starting_batch_size=7)
        assert plain() == 7
    torch.manual_seed(5)
    draws = []
    for utils in UTILS:
        torch.manual_seed(5)
        utils.seed_worker(0, 2, 1)
        draws.append((torch.rand(1).item(), np.random.rand()))
    assert draws[0] == draws[1]
