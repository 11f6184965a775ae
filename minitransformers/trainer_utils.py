"""What scripts import from `transformers.trainer_utils`, under that name; it is defined in `training`."""

from minitransformers.generation.seeds import set_seed as set_seed
from minitransformers.training.loop.checkpoint_directories import get_last_checkpoint as get_last_checkpoint
from minitransformers.training.loop.schedules import SchedulerType as SchedulerType
from minitransformers.training.trainer.arguments import (
    HubStrategy as HubStrategy,
    IntervalStrategy as IntervalStrategy,
    SaveStrategy as SaveStrategy,
)
from minitransformers.training.trainer.predictions import (
    EvalPrediction as EvalPrediction,
    PredictionOutput as PredictionOutput,
    TrainOutput as TrainOutput,
)
