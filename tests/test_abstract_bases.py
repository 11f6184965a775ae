"""A subclass that leaves out what its base asks for cannot be made; the error names what is missing."""

import pytest

from minitransformers import DataCollatorWithFlattening, TrainerCallback
from minitransformers.data import EpochBatchSampler
from minitransformers.data.collators import DataCollatorMixin
from minitransformers.data.spans import DenoisingCollator
from minitransformers.training.trainer.callbacks import ExportableState

ABSTRACT = [
    (DataCollatorMixin, "torch_call"),
    (DenoisingCollator, "corrupt"),
    (EpochBatchSampler, "plan"),
    (ExportableState, "state"),
]


@pytest.mark.parametrize(("base", "method"), ABSTRACT)
def test_incomplete_subclasses(base, method):
    bases = (TrainerCallback, base) if base is ExportableState else (base,)
    with pytest.raises(TypeError, match=f"abstract class Incomplete with.* abstract method '?{method}"):
        type("Incomplete", bases, {})()
    assert isinstance(type("Complete", bases, {method: lambda self, *_: None})(), base)


def test_a_collator_is_complete():
    """`torch_call` of the one that calls for more than features, too."""
    row = {"input_ids": [1, 2, 3]}
    collator = DataCollatorWithFlattening(separator_id=-7)
    assert collator.torch_call([row, row])["labels"].tolist() == [[-7, 2, 3, -7, 2, 3]]
    assert collator.numpy_call([row])["input_ids"].tolist() == [[1, 2, 3]]
