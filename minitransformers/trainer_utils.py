"""What scripts import from `transformers.trainer_utils`, under that name; it is defined in `training`."""

from minitransformers.generation.randomness import set_seed as set_seed
from minitransformers.training.arguments import (
    HubStrategy as HubStrategy,
    IntervalStrategy as IntervalStrategy,
    SaveStrategy as SaveStrategy,
)
from minitransformers.training.files import get_last_checkpoint as get_last_checkpoint
from minitransformers.training.predictions import (
    EvalPrediction as EvalPrediction,
    PredictionOutput as PredictionOutput,
    TrainOutput as TrainOutput,
)
from minitransformers.training.schedules import SchedulerType as SchedulerType
