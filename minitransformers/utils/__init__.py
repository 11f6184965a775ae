"""What scripts for `transformers` import from its `utils`: `logging`, and a check at the top of its example scripts."""

from minitransformers.utils import logging as logging
from minitransformers.utils.versions import check_min_version as check_min_version
