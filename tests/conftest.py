"""Settings of the whole test run: hypothesis profiles, one thread per process, no network unless a test asks."""

import os

import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(int(os.environ.get("MINITRANSFORMERS_TEST_THREADS", "2")))

_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
# `quick` is what CI runs; `pytest --hypothesis-profile=thorough` is the long run before a release.
settings.register_profile(
    "quick", deadline=None, max_examples=25, derandomize=True, suppress_health_check=_SLOW_IS_FINE
)
settings.register_profile("thorough", deadline=None, max_examples=250, suppress_health_check=_SLOW_IS_FINE)
settings.load_profile("quick")
