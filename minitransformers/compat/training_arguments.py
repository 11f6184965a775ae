"""Arguments of `transformers.TrainingArguments` that are not covered here, or that transformers 5 has removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(kw_only=True)
class NotCovered:
    """Arguments of transformers 5.23 that are not covered, with their defaults: only the default is accepted."""

    accelerator_config: Any = None
    auto_find_batch_size: Any = False
    average_tokens_across_devices: Any = True
    batch_eval_metrics: Any = False
    bf16_full_eval: Any = False
    dataloader_in_order: Any = True
    dataloader_multiprocessing_context: Any = None
    ddp_backend: Any = None
    ddp_broadcast_buffers: Any = None
    ddp_bucket_cap_mb: Any = None
    ddp_static_graph: Any = None
    ddp_timeout: Any = 1800
    debug: Any = ""
    deepspeed: Any = None
    enable_jit_checkpoint: Any = False
    eval_use_gather_object: Any = False
    fp16_full_eval: Any = False
    fsdp: Any = None
    fsdp_config: Any = None
    ignore_data_skip: Any = False
    liger_kernel_config: Any = None
    local_rank: Any = -1
    logging_nan_inf_filter: Any = True
    optim_target_modules: Any = None
    parallelism_config: Any = None
    project: Any = "huggingface"
    save_on_each_node: Any = False
    skip_memory_metrics: Any = True
    tf32: Any = None
    torch_empty_cache_steps: Any = None
    trackio_bucket_id: Any = None
    trackio_space_id: Any = None
    trackio_static_space_id: Any = None
    use_liger_kernel: Any = False


# Alternatives to arguments that are not covered.
ALTERNATIVES: dict[str, str] = {"fsdp": "`training.train` with `parallelize(model, 'fsdp')`"}

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
