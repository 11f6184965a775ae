"""Where scripts for `transformers` look for `logging`: `from minitransformers.utils import logging`."""

from minitransformers.utils import logging as logging
