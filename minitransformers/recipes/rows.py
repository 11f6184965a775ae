"""Rows of data, from files of several forms or from a data set of a hub."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minitransformers.errors import CorpusError, InputError, MissingFileError, nearest

Row = dict[str, Any]
ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".conll", ".txt")


def read_rows(source: str, split: str = "train") -> list[Row]:
    """The rows of a file, by its ending, or of a data set on a hub.

    - .csv, .tsv: columns with names in the first line;
    - .jsonl: an object in each line; .json: a list of objects, or SQuAD's form;
    - .conll: a word and its tag in each line, between them white space, and an empty line between sentences: rows with
      "tokens" and "tags";
    - .txt: a text in each line: rows with "text";
    - anything else is the name of a data set, which needs the library datasets: `imdb`, `squad`, `conll2003` …

    Raises:
        MissingFileError: there is no such file, or the library datasets is needed and missing.
        CorpusError: an empty file, or one that is not of its ending's form.
    """
    path = Path(source)
    if path.suffix not in ENDINGS:
        return _from_hub(source, split)
    if not path.is_file():
        raise MissingFileError(f"There is no file {source}.")
    try:
        text = path.read_text("utf-8-sig")
        rows: list[Row] = _READERS[path.suffix](text)
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise CorpusError(f"{source} cannot be read as {path.suffix}: {error}") from error
    if not rows:
        raise CorpusError(f"{source} is empty: there are no rows in it.")
    return rows


def _from_hub(name: str, split: str) -> list[Row]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingFileError(
            f"{name!r} is no file that ends with {', '.join(ENDINGS)}, and to take it as a data set of a hub needs the "
            f"library datasets: pip install datasets."
        ) from error
    rows = load_dataset(name, split=split)
    names = {column: feature.names for column, feature in rows.features.items() if hasattr(feature, "names")}
    return [{**row, **{column: known[row[column]] for column, known in names.items()}} for row in rows]


def _table(separator: str) -> Any:
    def read(text: str) -> list[Row]:
        reader = csv.DictReader(text.splitlines(keepends=True), delimiter=separator, strict=True)
        rows: list[Row] = []
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"line {reader.line_num} has another number of columns than the first line.")
            rows.append(dict(row))
        return rows

    return read


def _json_lines(text: str) -> list[Row]:
    rows: list[Row] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is no object: {line[:60]}")
            rows.append(row)
    return rows


def _json(text: str) -> list[Row]:
    found = json.loads(text)
    if isinstance(found, dict) and isinstance(found.get("data"), list):  # SQuAD's form
        found = [
            {"question": each["question"], "context": paragraph["context"], "answers": each["answers"]}
            for article in found["data"]
            for paragraph in article["paragraphs"]
            for each in paragraph["qas"]
        ]
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError("it is no list of objects.")
    return found


def _conll(text: str) -> list[Row]:
    rows: list[Row] = []
    sentence: list[list[str]] = []
    for number, line in enumerate([*text.splitlines(), ""], 1):
        parts = line.split()
        if len(parts) == 1:
            raise ValueError(f"line {number} has a word and no tag: {line[:60]!r}")
        if parts:
            sentence.append(parts)
        elif sentence:
            rows.append({"tokens": [word[0] for word in sentence], "tags": [word[-1] for word in sentence]})
            sentence = []
    return rows


def _lines(text: str) -> list[Row]:
    return [{"text": line} for line in text.splitlines() if line.strip()]


_READERS = {
    ".csv": _table(","),
    ".tsv": _table("\t"),
    ".jsonl": _json_lines,
    ".json": _json,
    ".conll": _conll,
    ".txt": _lines,
}


def column(rows: Sequence[Row], name: str) -> list[Any]:
    """One value of each row.

    Raises:
        InputError: a row lacks it; the message has the nearest that is there.
    """
    for number, row in enumerate(rows, 1):
        if row.get(name) is None:
            known = ", ".join(map(repr, row))
            raise InputError(f"Row {number} of the data has no {name!r}; it has {known}.{nearest(name, map(str, row))}")
    return [row[name] for row in rows]


def split_rows(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Most of the rows, and a random `share` of them, at least one.

    Raises:
        InputError: there are fewer than two rows.
    """
    if len(rows) < 2:
        raise InputError(f"The data has {len(rows)} row: it takes two or more to keep one apart for validation.")
    order = random.Random(seed).sample(range(len(rows)), len(rows))
    apart = max(1, round(share * len(rows)))
    return [rows[index] for index in sorted(order[apart:])], [rows[index] for index in sorted(order[:apart])]
