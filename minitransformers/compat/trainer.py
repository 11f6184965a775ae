"""Methods of `transformers.Trainer` that this library never calls."""

# Each method that a subclass might override, and the method to override instead.
NOT_CALLED: dict[str, str] = {
    "training_step": "compute_loss",
    "_inner_training_loop": "a callback, or the loop in training/loop/loop.py",
    "_maybe_log_save_evaluate": "a callback",
    "_save_checkpoint": "a callback's on_save",
    "_prepare_inputs": "compute_loss",
    "_get_train_sampler": "get_train_dataloader",
    "_get_eval_sampler": "get_eval_dataloader",
    "_save": "save_model",
    "get_batch_samples": "get_train_dataloader",
    "get_optimizer_cls_and_kwargs": "create_optimizer",
}
