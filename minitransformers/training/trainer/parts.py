# ruff: noqa: D102
"""Parts: the attributes of a `Trainer`, and the methods that its files call of each other.

The Trainer's methods are in one file for each subject: batches.py, optimization.py, steps.py, evaluation.py, saving.py,
reporting.py, hub.py and search.py, each a class with these attributes. trainer.py puts them together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from minitransformers.training.loop.logs import Logger
from minitransformers.training.loop.run import Run
from minitransformers.training.trainer.accelerator import Accelerator
from minitransformers.training.trainer.arguments import TrainingArguments
from minitransformers.training.trainer.callbacks import CallbackHandler
from minitransformers.training.trainer.evaluator import Evaluator
from minitransformers.training.trainer.label_smoothing import LabelSmoother
from minitransformers.training.trainer.publisher import Publisher
from minitransformers.training.trainer.state import TrainerControl, TrainerState
from minitransformers.training.trainer.training_loss import TrainingLoss


class Parts:
    """The attributes of a `Trainer`.

    Attributes:
        model, model_wrapped: the model, and the model as it is trained: in DistributedDataParallel, or sharded.
        args, data_collator, train_dataset, eval_dataset, processing_class, model_init, compute_loss_func,
            compute_metrics, preprocess_logits_for_metrics, optimizer_cls_and_kwargs: the arguments.
        optimizer, lr_scheduler: those that were passed or created.
        state, control: the progress of the run, and the requests of callbacks.
        callback_handler, accelerator, evaluator, publisher, label_smoother: the objects that the Trainer consists of.
        label_names: the entries of a batch that are labels.
        is_in_train: whether `train` is running.
        place_model_on_device: whether the Trainer moves the model to the device.
        current_gradient_accumulation_steps: the number of batches in the current step.
        current_flos: floating-point operations that are not yet in `state.total_flos`.
        model_accepts_loss_kwargs: whether the model divides its loss by `num_items_in_batch`. Either way the loss is
            the mean over all labels here.
        hp_search_backend, hp_space, hp_name, compute_objective, objective: of `hyperparameter_search`.
    """

    model: Any
    model_wrapped: Any
    args: TrainingArguments
    data_collator: Any
    train_dataset: Any
    eval_dataset: Any
    processing_class: Any
    model_init: Callable[..., Any] | None
    compute_loss_func: Callable[..., Any] | None
    compute_metrics: Callable[..., Any] | None
    preprocess_logits_for_metrics: Callable[[Any, Any], Any] | None
    optimizer: Any
    lr_scheduler: Any
    optimizer_cls_and_kwargs: tuple[Any, dict[str, Any]] | None
    state: TrainerState
    control: TrainerControl
    callback_handler: CallbackHandler
    accelerator: Accelerator
    evaluator: Evaluator
    publisher: Publisher
    label_smoother: LabelSmoother | None
    label_names: list[str]
    loggers: list[Logger]

    # Whether an overridden `compute_loss` divides by the number of labels of all accumulated batches. None: its loss is
    # the mean over its own batch, unless it calls the original method.
    loss_is_scaled_for_ga: bool | None = None

    model_accepts_loss_kwargs: bool
    place_model_on_device: bool
    is_in_train: bool
    current_gradient_accumulation_steps: int
    current_flos: float
    hp_search_backend: Any
    hp_space: Any
    hp_name: Callable[[Any], str] | None
    compute_objective: Callable[[dict[str, float]], Any]
    objective: Any

    _run: Run | None  # of the loop, during `train`
    _training_loss: TrainingLoss | None  # during a step
    _trial: Any
    _train_batch_size: int
    _signature_columns: list[str] | None
    _own_scheduler: bool
    _globalstep_last_logged: int
    _initial_num_input_tokens_seen: int

    if TYPE_CHECKING:

        def prediction_step(
            self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
        ) -> tuple[Tensor | None, Any, Any]: ...
        def evaluate(
            self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
        ) -> Any: ...
        def compute_loss(
            self,
            model: nn.Module,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Tensor | int | None = None,
        ) -> Any: ...
        def compute_loss_context_manager(self) -> Any: ...
        def log(self, logs: dict[str, Any], start_time: float | None = None) -> None: ...
        def save_model(self, output_dir: Any = None, _internal_call: bool = False) -> None: ...
        def push_to_hub(self, commit_message: str | None = ..., **kwargs: Any) -> Any: ...
        def store_flos(self) -> None: ...
        def call_model_init(self, trial: Any = None) -> Any: ...
        def is_local_process_zero(self) -> bool: ...
        def is_world_process_zero(self) -> bool: ...
        def get_eval_dataloader(self, eval_dataset: Any = None) -> Any: ...
        def get_test_dataloader(self, test_dataset: Any) -> Any: ...
        def _loss_and_outputs(self, model: Any, inputs: Any) -> Any: ...
        def _prepare_inputs(self, inputs: Any) -> Any: ...
        def _get_output_dir(self, trial: Any) -> str: ...
        def _save_checkpoint(self, model: Any, trial: Any) -> None: ...
        def _report_to_hp_search(self, trial: Any, step: int, metrics: dict[str, Any]) -> None: ...
        def _share_requests(self) -> None: ...

    @property
    def _input_name(self) -> str:
        return getattr(self.model, "main_input_name", "input_ids")
