"""A collective of all processes is the last thing before the end: `torchrun --nproc-per-node 2 ending_processes.py`."""

import torch
import torch.distributed as dist

from minitransformers.training import parallelize

torch.set_num_threads(1)
model = parallelize(torch.nn.Linear(4, 4), device="cpu")
model(torch.ones(3, 4)).sum().backward()
for _ in range(20):
    dist.all_reduce(torch.ones(3))
