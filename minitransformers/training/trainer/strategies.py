"""The choices that settings of a `Trainer` are made from: when to log, evaluate, save and push, and how to run."""

from __future__ import annotations

from enum import Enum, StrEnum


class IntervalStrategy(StrEnum):
    """When to log and to evaluate."""

    NO = "no"
    STEPS = "steps"
    EPOCH = "epoch"


EvaluationStrategy = IntervalStrategy  # its name in older scripts


class SaveStrategy(StrEnum):
    """When to save; BEST saves the model whenever it is the best so far."""

    NO = "no"
    STEPS = "steps"
    EPOCH = "epoch"
    BEST = "best"


class HubStrategy(StrEnum):
    """What is pushed to a hub, and when: at the end or with each save, with or without the training state."""

    END = "end"
    EVERY_SAVE = "every_save"
    CHECKPOINT = "checkpoint"
    ALL_CHECKPOINTS = "all_checkpoints"


class ParallelMode(Enum):
    """How a run is parallel. Here a process uses one device, so that it is DISTRIBUTED or NOT_PARALLEL."""

    NOT_PARALLEL = "not_parallel"
    NOT_DISTRIBUTED = "not_distributed"
    DISTRIBUTED = "distributed"
    SAGEMAKER_MODEL_PARALLEL = "sagemaker_model_parallel"
    SAGEMAKER_DATA_PARALLEL = "sagemaker_data_parallel"
    TPU = "tpu"


class FSDPOption(StrEnum):
    """The words of the argument `fsdp` in older scripts; here FULL_SHARD and AUTO_WRAP are covered."""

    FULL_SHARD = "full_shard"
    SHARD_GRAD_OP = "shard_grad_op"
    NO_SHARD = "no_shard"
    HYBRID_SHARD = "hybrid_shard"
    HYBRID_SHARD_ZERO2 = "hybrid_shard_zero2"
    OFFLOAD = "offload"
    AUTO_WRAP = "auto_wrap"


class HPSearchBackend(StrEnum):
    """The libraries that search for hyperparameters; here OPTUNA can."""

    OPTUNA = "optuna"
    RAY = "ray"
    WANDB = "wandb"
