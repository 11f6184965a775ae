"""Training: one loop in the open, what it calls, and the `Trainer` that scripts know.

Read loop.py first; then objective.py (the loss of accumulated batches), state.py (exact resume), distributed.py. The
`Trainer` has three rooms: evaluator.py measures, publisher.py gives to a hub, trainer.py trains; events.py stands
between it and the loop.
"""

from minitransformers.training.distributed import parallelize as parallelize
from minitransformers.training.evaluation import evaluate as evaluate
from minitransformers.training.hooks import Hooks as Hooks
from minitransformers.training.loop import train as train
from minitransformers.training.run import Run as Run
from minitransformers.training.settings import Settings as Settings
from minitransformers.training.state import load_weights as load_weights
