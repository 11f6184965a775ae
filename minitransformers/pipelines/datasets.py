"""Columns of data sets as the inputs of a pipeline: `pipe(KeyDataset(dataset, "text"))`."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset


class KeyDataset(Dataset[Any]):
    """The values of one column.

    Args:
        dataset: records by number, each a dictionary.
        key: the column.
    """

    def __init__(self, dataset: Any, key: str) -> None:
        self.dataset, self.key = dataset, key

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> Any:
        return self.dataset[i][self.key]


class KeyPairDataset(Dataset[dict[str, Any]]):
    """Pairs of texts from two columns, as text classification takes them: {"text": …, "text_pair": …}.

    Args:
        dataset: records by number, each a dictionary.
        key1: the column of the first texts.
        key2: the column of the second texts.
    """

    def __init__(self, dataset: Any, key1: str, key2: str) -> None:
        self.dataset, self.key1, self.key2 = dataset, key1, key2

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> dict[str, Any]:
        record = self.dataset[i]
        return {"text": record[self.key1], "text_pair": record[self.key2]}
