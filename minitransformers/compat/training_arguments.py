"""Arguments of `transformers.TrainingArguments` that are not covered here, or that transformers 5 has removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(kw_only=True)
class NotCovered:
    """Arguments of transformers 5.23 that are not covered, with their defaults: only the default is accepted."""

    debug: Any = ""
    deepspeed: Any = None
    enable_jit_checkpoint: Any = False
    liger_kernel_config: Any = None
    optim_target_modules: Any = None
    parallelism_config: Any = None
    project: Any = "huggingface"
    save_on_each_node: Any = False
    skip_memory_metrics: Any = True
    trackio_bucket_id: Any = None
    trackio_space_id: Any = None
    trackio_static_space_id: Any = None
    use_liger_kernel: Any = False


NO_EFFECT = "has no effect"

# What to do instead of passing an argument that is not covered; NO_EFFECT where any value is accepted.
ALTERNATIVES: dict[str, str] = {
    "debug": "torch.autograd.set_detect_anomaly(True) finds the operation that gives NaN",
    "deepspeed": "fsdp=True shards weights, gradients and the optimizer's state",
    "enable_jit_checkpoint": NO_EFFECT,  # SIGTERM ends a run with a checkpoint either way, unless save_strategy="no"
    "liger_kernel_config": "torch_compile=True fuses kernels",
    "optim_target_modules": "only the optimizers GaLore and APOLLO have it: pass optimizers=(…, None)",
    "parallelism_config": "fsdp=True shards the model; other kinds need a loop of your own",
    "project": NO_EFFECT,  # only trackio reads it
    "save_on_each_node": "the first process of all writes, to a disk that the machines share",
    "skip_memory_metrics": "a callback can log torch.cuda.max_memory_allocated()",
    "trackio_bucket_id": "report_to='wandb', 'tensorboard' or 'jsonl'",
    "trackio_space_id": "report_to='wandb', 'tensorboard' or 'jsonl'",
    "trackio_static_space_id": "report_to='wandb', 'tensorboard' or 'jsonl'",
    "use_liger_kernel": "torch_compile=True fuses kernels",
}

# Arguments that older scripts and text books pass, and their replacements in transformers 5.
REMOVED: dict[str, str] = {
    "adafactor": "optim='adafactor'",
    "dispatch_batches": "nothing: leave it out",
    "do_lower_case": "the tokenizer's own argument",
    "evaluate_during_training": "eval_strategy='steps'",
    "evaluation_strategy": "eval_strategy",
    "fp16_backend": "fp16=True alone",
    "fp16_opt_level": "fp16=True alone",
    "group_by_length": "train_sampling_strategy='group_by_length'",
    "half_precision_backend": "fp16=True or bf16=True alone",
    "include_inputs_for_metrics": "include_for_metrics=['inputs']",
    "jit_mode_eval": "torch_compile=True",
    "logging_dir": "the environment variable TENSORBOARD_LOGGING_DIR",
    "no_cuda": "use_cpu",
    "overwrite_output_dir": "nothing: leave it out (only train(resume_from_checkpoint=True) reads old checkpoints)",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "past_index": "nothing: leave it out",
    "push_to_hub_model_id": "hub_model_id",
    "push_to_hub_organization": "hub_model_id='organization/name'",
    "push_to_hub_token": "hub_token",
    "save_safetensors": "nothing: leave it out (safetensors are always written)",
    "split_batches": "nothing: leave it out",
    "tpu_num_cores": "nothing: leave it out",
    "use_ipex": "nothing: leave it out",
    "use_mps_device": "nothing: leave it out (an available device is used, unless use_cpu=True)",
    "warmup_ratio": "warmup_steps with a number below 1, a fraction of all steps",
}
