"""Training: a loop in the open (loop/), and the `Trainer` of scripts on top of it (trainer/).

Read loop/loop.py first; then objective.py (the loss of accumulated batches), checkpoints.py (exact resuming) and
distributed.py. In trainer/, trainer.py puts a Trainer together: its methods are in one file for each subject (steps.py,
batches.py, evaluation.py …; parts.py lists them), and it holds an Evaluator (predictions and metrics), a Publisher
(uploads to a hub) and an Accelerator (devices and processes). events.py connects the loop with its callbacks.
"""

from minitransformers.training.loop.checkpoints import load_weights as load_weights
from minitransformers.training.loop.distributed import parallelize as parallelize
from minitransformers.training.loop.evaluation import evaluate as evaluate
from minitransformers.training.loop.hooks import Hooks as Hooks
from minitransformers.training.loop.loop import train as train
from minitransformers.training.loop.loss_only import loss_only as loss_only
from minitransformers.training.loop.muon import MuonWithAdamW as MuonWithAdamW, muon_groups as muon_groups
from minitransformers.training.loop.run import Run as Run
from minitransformers.training.loop.settings import Settings as Settings
