"""Training: one loop in the open, what it calls, and the `Trainer` that scripts know.

Read loop.py first; then objective.py (the loss of accumulated batches), state.py (exact resume), distributed.py. The
`Trainer` has three rooms: evaluator.py measures, publisher.py gives to a hub, trainer.py trains; events.py stands
between it and the loop.
"""

from minitransformers.training.loop.distributed import parallelize as parallelize
from minitransformers.training.loop.evaluation import evaluate as evaluate
from minitransformers.training.loop.hooks import Hooks as Hooks
from minitransformers.training.loop.loop import train as train
from minitransformers.training.loop.run import Run as Run
from minitransformers.training.loop.settings import Settings as Settings
from minitransformers.training.loop.state import load_weights as load_weights
