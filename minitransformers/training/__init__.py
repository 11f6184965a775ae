"""Training: a loop in the open (loop/), and the `Trainer` of scripts on top of it (trainer/).

Read loop/loop.py first; then objective.py (the loss of accumulated batches), checkpoints.py (exact resuming) and
distributed.py. In trainer/, trainer.py holds an Evaluator (evaluator.py: predictions and metrics) and a Publisher
(publisher.py: uploads to a hub); events.py connects the loop with the Trainer's callbacks.
"""

from minitransformers.training.loop.checkpoints import load_weights as load_weights
from minitransformers.training.loop.distributed import parallelize as parallelize
from minitransformers.training.loop.evaluation import evaluate as evaluate
from minitransformers.training.loop.hooks import Hooks as Hooks
from minitransformers.training.loop.loop import train as train
from minitransformers.training.loop.run import Run as Run
from minitransformers.training.loop.settings import Settings as Settings
