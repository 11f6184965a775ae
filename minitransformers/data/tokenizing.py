"""tokenize_corpus: texts of any amount to a TokenCorpus, in parallel; it can be killed at any time and run again.

Each finished shard is renamed into its place and noted in corpus.partial.json, with the SHA-256 of its texts. A run
that finds such notes reads the texts again, keeps the shards that they still belong to, and goes on behind them.
corpus.json comes at the very end: until then a corpus that was in the directory before stays as it is.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import os
import re
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from minitransformers.configs.checks import check_count
from minitransformers.data.corpus import MANIFEST_FILE, PARTIAL_FILE, TokenCorpus, read_manifest, write_manifest
from minitransformers.data.shards import TokenShard, id_type, write_shard
from minitransformers.data.texts import documents_of, is_read_once, num_bytes_of
from minitransformers.errors import CorpusError, InputError, MinitransformersError
from minitransformers.tokenization.base.backend import rust_errors
from minitransformers.utils.logging import tqdm

# How much text goes to a worker at a time, in characters and documents.
_BATCH_CHARACTERS, _BATCH_DOCUMENTS = 1 << 18, 1000
_SHARD_NAME = re.compile(r"\.?\d{5}-[0-9a-f]{8}\.tokens(\.[0-9a-f]{8}\.tmp)?")

Encoded = tuple[np.ndarray, list[int]]  # the ids of a batch of documents, and how many each has
Encode = Callable[[list[str]], Encoded]


def tokenize_corpus(
    source: Any,
    tokenizer: Any,
    directory: str | os.PathLike[str],
    *,
    text_column: str = "text",
    add_special_tokens: bool = True,
    append_eos: bool = False,
    shard_tokens: Any = 100_000_000,
    num_workers: Any = 0,
    show_progress: bool = True,
) -> TokenCorpus:
    """Tokenize documents into shards of a directory, and open them.

    The result depends on the texts, the tokenizer and the arguments, not on the number of workers. Run again with the
    same, it keeps what is there already; with others, it replaces the corpus once the new one is whole. Only one run at
    a time may write to a directory. What an iterator gives can't be read again: it is always done from the start.

    Args:
        source: TextFiles(…); a pathlib.Path or a list of them; or texts: a list, an iterator, a data set of texts or of
            rows. Each text is a document.
        tokenizer: a tokenizer.
        directory: is made where it does not exist.
        text_column: which column of a row holds the text.
        add_special_tokens: whether every document gets what the tokenizer puts around texts ([CLS] and [SEP], say).
        append_eos: whether every document ends with the tokenizer's `eos_token`, as GPT-2's training data do.
        shard_tokens: a shard ends with the document that reaches this number.
        num_workers: processes that tokenize, one thread each; 0 tokenizes in this one, with the threads of the
            `tokenizers` library.
        show_progress: whether to show a bar.

    Raises:
        InputError: a source or argument that is none.
        MissingFileError: a file that does not exist.
        CorpusError: no text at all, a file that is no UTF-8 text, or files that can't be written. Shards that were
            finished before are kept for the next run.
    """
    directory = Path(directory)
    settings = _settings(tokenizer, add_special_tokens, append_eos, check_count("shard_tokens", shard_tokens, least=1))
    encode = _Encode(tokenizer, settings)
    workers = check_count("num_workers", num_workers, least=0)

    def texts() -> Iterator[str]:
        return documents_of(source, text_column)

    total = num_bytes_of(source)
    remaining = texts()  # here, so that a wrong source is refused before anything is done
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CorpusError(f"The directory {str(directory)!r} can't be made: {error.strerror or error}.") from error
    with tqdm(total=total, unit="B", unit_scale=True, disable=not show_progress) as bar:
        shards = [] if is_read_once(source) else _kept(directory, settings, texts, bar)
        remaining = itertools.islice(remaining, sum(shard["documents"] for shard in shards), None)
        documents = _encoded(remaining, encode, workers, bar)
        while (first := next(documents, None)) is not None:
            shards.append(_write(directory, itertools.chain([first], documents), settings, len(shards)))
            write_manifest(directory / PARTIAL_FILE, settings, shards)
    if not shards:
        raise CorpusError(f"The corpus has no text: {source!r} gave not one document.")
    _finish(directory, settings, shards)
    return TokenCorpus(directory, verify=False)


# ---- what was done before --------------------------------------------------------------------------------------------


def _settings(tokenizer: Any, add_special_tokens: bool, append_eos: bool, shard_tokens: int) -> dict[str, Any]:
    """What, beside the texts, the ids depend on."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(f"tokenizer must be a tokenizer such as GPT2Tokenizer, got a {type(tokenizer).__name__}.")
    if append_eos and tokenizer.eos_token_id is None:
        raise InputError("append_eos=True needs an eos_token, and this tokenizer has none: set tokenizer.eos_token.")
    pipeline = json.loads(backend.to_str()) | {"padding": None, "truncation": None}  # calls set these
    return {
        "tokenizer_sha256": hashlib.sha256(json.dumps(pipeline, sort_keys=True).encode()).hexdigest(),
        "split_special_tokens": bool(getattr(tokenizer, "split_special_tokens", False)),
        "vocab_size": max(tokenizer.get_vocab().values()) + 1,
        "add_special_tokens": add_special_tokens,
        "eos_token_id": tokenizer.eos_token_id if append_eos else None,
        "shard_tokens": shard_tokens,
    }


def _kept(
    directory: Path, settings: dict[str, Any], texts: Callable[[], Iterator[str]], bar: tqdm
) -> list[dict[str, Any]]:
    """The shards of an earlier run that this one would write again, up to the first that it would not."""
    documents = None
    kept: list[dict[str, Any]] = []
    for entry in _noted(directory, settings):
        documents = texts() if documents is None else documents
        of_shard, size = hashlib.sha256(), 0
        for text in itertools.islice(documents, entry["documents"]):
            of_shard.update(_sha256(text))
            size += len(text.encode())
        if of_shard.hexdigest() != entry["text_sha256"] or not _is_whole(directory, entry):
            break
        # The last shard of a corpus is smaller, and would take further documents that have come since.
        if entry["tokens"] < settings["shard_tokens"] and next(documents, None) is not None:
            break
        kept.append(entry)
        bar.update(size)
    return kept


def _noted(directory: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The shards that a stopped run, else a finished one, has noted, if it had the same settings."""
    for name in (PARTIAL_FILE, MANIFEST_FILE):
        try:
            manifest = read_manifest(directory / name)
        except MinitransformersError:  # none, or of something else: nothing to go on with
            continue
        if manifest["settings"] == settings:
            shards: list[dict[str, Any]] = manifest["shards"]
            return shards
    return []


def _is_whole(directory: Path, entry: dict[str, Any]) -> bool:
    try:
        shard = TokenShard(directory / entry["file"])
        shard.verify()
    except MinitransformersError:
        return False
    return bool(shard.header.sha256.hex() == entry["sha256"])


# ---- from texts to ids -----------------------------------------------------------------------------------------------


class _Encode:
    """Documents to ids, as a call of the tokenizer gives them and nothing else; it can be sent to workers."""

    def __init__(self, tokenizer: Any, settings: dict[str, Any]) -> None:
        self.backend: Tokenizer = copy.deepcopy(tokenizer.backend_tokenizer)
        self.backend.no_padding()
        self.backend.no_truncation()
        self.backend.encode_special_tokens = settings["split_special_tokens"]
        self.add_special_tokens = settings["add_special_tokens"]
        self.end = [] if settings["eos_token_id"] is None else [settings["eos_token_id"]]
        self.dtype = id_type(settings["vocab_size"])

    def __call__(self, texts: list[str]) -> Encoded:
        with rust_errors(lambda message: f"The texts can't be encoded: {message}."):
            encodings = self.backend.encode_batch_fast(texts, add_special_tokens=self.add_special_tokens)
        rows = [encoding.ids + self.end for encoding in encodings]
        return np.fromiter(itertools.chain.from_iterable(rows), dtype=self.dtype), list(map(len, rows))


_of_worker: Encode


def _start_worker(encode: Encode) -> None:
    global _of_worker
    _of_worker = encode
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # there is a process for every core already


def _work(texts: list[str]) -> Encoded:
    return _of_worker(texts)


def _encoded(texts: Iterable[str], encode: Encode, workers: int, bar: tqdm) -> Iterator[tuple[bytes, np.ndarray]]:
    """The SHA-256 and the ids of each document, in order."""
    batches = _batches(texts)
    results = _in_this_process(batches, encode) if not workers else _in_processes(batches, encode, workers)
    for batch, (ids, lengths) in results:
        ends = np.cumsum(lengths)
        for text, part in zip(batch, np.split(ids, ends[:-1]), strict=True):
            yield _sha256(text), part
        bar.update(sum(len(text.encode()) for text in batch))


def _in_this_process(batches: Iterator[list[str]], encode: Encode) -> Iterator[tuple[list[str], Encoded]]:
    for batch in batches:
        yield batch, encode(batch)


def _in_processes(batches: Iterator[list[str]], encode: Encode, workers: int) -> Iterator[tuple[list[str], Encoded]]:
    """As above, a few batches ahead: more would fill the memory where reading is faster than tokenizing."""
    pool = ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(encode,))
    waiting: deque[tuple[list[str], Future[Encoded]]] = deque()
    try:
        for batch in batches:
            waiting.append((batch, pool.submit(_work, batch)))
            if len(waiting) > 3 * workers:
                batch, future = waiting.popleft()
                yield batch, future.result()
        for batch, future in waiting:
            yield batch, future.result()
    except BrokenProcessPool as error:
        raise CorpusError(
            "A process that tokenized has died, perhaps for want of memory: pass a smaller num_workers. The shards "
            "that were finished are kept."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if characters >= _BATCH_CHARACTERS or len(batch) >= _BATCH_DOCUMENTS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


# ---- the files -------------------------------------------------------------------------------------------------------


def _write(
    directory: Path, documents: Iterator[tuple[bytes, np.ndarray]], settings: dict[str, Any], number: int
) -> dict[str, Any]:
    """Write the next shard; what the manifest says of it."""
    of_texts = hashlib.sha256()

    def until_full() -> Iterator[np.ndarray]:
        tokens = 0
        for digest, ids in documents:
            of_texts.update(digest)
            yield ids
            tokens += len(ids)
            if tokens >= settings["shard_tokens"]:
                return

    # A name of its own each time, so that the shards of an earlier corpus stay until this one is finished.
    path = directory / f"{number:05d}-{secrets.token_hex(4)}.tokens"
    header = write_shard(path, until_full(), settings["vocab_size"])
    return {
        "file": path.name,
        "tokens": header.tokens,
        "documents": header.documents,
        "sha256": header.sha256.hex(),
        "text_sha256": of_texts.hexdigest(),
    }


def _finish(directory: Path, settings: dict[str, Any], shards: list[dict[str, Any]]) -> None:
    """Put the corpus in force, and remove what is left of others and of runs that were killed."""
    write_manifest(directory / MANIFEST_FILE, settings, shards)
    (directory / PARTIAL_FILE).unlink(missing_ok=True)
    own = {shard["file"] for shard in shards}
    for path in directory.iterdir():
        if _SHARD_NAME.fullmatch(path.name) and path.name not in own:
            path.unlink()
