"""Methods of `transformers.Trainer` that this library never calls."""

_CHECKPOINT = "_save_checkpoint, or a callback with a state (ExportableState)"
_RESUMED = "_load_from_checkpoint, or a callback with a state (ExportableState)"

# Each method that a subclass might override, and what to override instead.
NOT_CALLED: dict[str, str] = {
    "_build_accelerator_args": "create_accelerator_and_postprocess",
    "_clip_grad_norm": "a callback's on_pre_optimizer_step, with max_grad_norm=0",
    "_finalize_training": "a callback's on_train_end",
    "_get_grad_norm": "a callback's on_pre_optimizer_step",
    "_init_training_state": "a callback's on_train_begin",
    "_load_optimizer_and_scheduler": _RESUMED,
    "_load_rng_state": _RESUMED,
    "_load_scaler": _RESUMED,
    "_prepare_for_training": "create_optimizer, create_scheduler or _wrap_model",
    "_run_epoch": "_inner_training_loop, or a callback",
    "_save_optimizer_and_scheduler": _CHECKPOINT,
    "_save_rng_state": _CHECKPOINT,
    "_save_scaler": _CHECKPOINT,
    "_tune_save_checkpoint": _CHECKPOINT,
    "_update_auto_batch_size": "_inner_training_loop",
    "set_initial_training_values": "get_train_dataloader, or TrainingArguments.max_steps",
}
