"""The files of a tokenizer: read as arguments of its class, and written back.

In transformers 5 `tokenizer.json` and `tokenizer_config.json` hold everything. Older versions kept added tokens in
`tokenizer_config.json` (`added_tokens_decoder`) or `added_tokens.json`, special tokens in `special_tokens_map.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from minitransformers.errors import InputError, MissingFileError, TokenizationError, shown
from minitransformers.files.atomic import write_text
from minitransformers.files.hub import Source
from minitransformers.files.json_text import parse_json
from minitransformers.tokenization.base.vocabulary import Vocabulary

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"
CHAT_TEMPLATE_FILE = "chat_template.jinja"
CHAT_TEMPLATE_DIRECTORY = "additional_chat_templates"

# The tokenizers library works on tables of all ids up to the largest, and 16 million are more than any vocabulary has.
MOST_IDS = 2**24

_NAMES = Vocabulary.SPECIAL_TOKENS_ATTRIBUTES

# Keys of tokenizer_config.json that are ignored. In particular, paths in a downloaded file are never opened.
_NO_OPTIONS = {
    "added_tokens_file",
    "init_inputs",
    "merges",
    "merges_file",
    "name_or_path",
    "special_tokens_map_file",
    "tokenizer_class",
    "tokenizer_file",
    "tokenizer_object",
    "vocab",
    "vocab_file",
}


@dataclass(frozen=True)
class SingleFile:
    """A file in place of a directory, for `from_pretrained("…/vocab.txt")`."""

    path: Path
    filename: str

    @property
    def name_or_path(self) -> str:
        """The file's path."""
        return str(self.path)

    def find(self, filename: str) -> Path | None:
        """The file if it has this name, otherwise None."""
        return self.path if filename == self.filename else None

    def file(self, filename: str) -> Path:
        """The file if it has this name, otherwise MissingFileError."""
        if filename != self.filename:
            raise MissingFileError(f"{str(self.path)!r} is a file, but {filename!r} is needed too: pass a directory.")
        return self.path


class TokenizerFiles:
    """The files of one tokenizer, each read at its first use."""

    def __init__(self, source: Source | SingleFile) -> None:
        self.source = source

    @cached_property
    def config(self) -> dict[str, Any]:
        """tokenizer_config.json; empty if there is no such file."""
        return self._read_json(CONFIG_FILE) or {}

    @cached_property
    def tokenizer(self) -> dict[str, Any] | None:
        """tokenizer.json as plain data; None if there is no such file."""
        return self._read_json(TOKENIZER_FILE)

    def options(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments of a tokenizer class, from its files and from the caller.

        Args:
            overrides: keyword arguments of `from_pretrained`; they replace those of the files.

        Returns:
            The arguments, and further keys of tokenizer_config.json.
        """
        options = {name: value for name, value in self.config.items() if name not in _NO_OPTIONS}
        if self.tokenizer is not None:
            # The post-processor of tokenizer.json adds these tokens. The caller can still override it.
            options.pop("add_bos_token", None)
            options.pop("add_eos_token", None)
            for option, section in (("padding_side", "padding"), ("truncation_side", "truncation")):
                if (stored := _section(self.tokenizer, section)) is not None:
                    options.setdefault(option, str(stored.get("direction", "right")).lower())
        if (template := self._chat_template()) is not None:
            options["chat_template"] = template
        options |= overrides
        _rename_additional(options)

        if "added_tokens_decoder" in options:
            added = _added_tokens(options["added_tokens_decoder"], CONFIG_FILE)
        else:
            self._read_special_tokens(options, overrides)
            added = self._read_added_tokens(options)
        options = {name: as_tokens(value) for name, value in options.items()}
        if isinstance(extra := options.get("extra_special_tokens"), list):
            options["extra_special_tokens"] = [as_token(token) if isinstance(token, dict) else token for token in extra]
        by_content = {str(token): token for token in added.values()}
        for name in _NAMES:
            if isinstance(options.get(name), (str, AddedToken)):
                options[name] = by_content.get(str(options[name]), options[name])
        options["added_tokens_decoder"] = added
        return options

    def _chat_template(self) -> str | dict[str, str] | None:
        """The templates in separate files: the only one, or all of them by name."""
        templates = {}
        if (path := self.source.find(CHAT_TEMPLATE_FILE)) is not None:
            templates["default"] = _read_text(path)
        if isinstance(self.source, Source):
            # The folder is listed only in a directory; files of a hub's repository are requested by name.
            folder = Path(self.source.name_or_path, self.source.subfolder, CHAT_TEMPLATE_DIRECTORY).expanduser()
            templates |= {path.stem: _read_text(path) for path in sorted(folder.glob("*.jinja"))}
        if templates.keys() == {"default"}:
            return templates["default"]
        return templates or None

    def _read_special_tokens(self, options: dict[str, Any], overrides: Mapping[str, Any]) -> None:
        """Add the content of special_tokens_map.json to `options`."""
        for name, value in (self._read_json(SPECIAL_TOKENS_FILE) or {}).items():
            if overrides.get(name):
                continue
            if name.endswith("special_tokens") and not isinstance(value, (list, dict)):
                raise TokenizationError(f"{name!r} in {SPECIAL_TOKENS_FILE} must be a list, got {shown(value)}.")
            if name == "extra_special_tokens" and isinstance(value, list):
                known = _listed(name, options.get(name))
                options[name] = known + [token for token in map(_as_special, value) if token not in known]
            elif name == "additional_special_tokens":
                options.setdefault("extra_special_tokens", [_as_special(token) for token in value])
            else:
                options[name] = _as_special(value)

    def _read_added_tokens(self, options: dict[str, Any]) -> dict[int, AddedToken]:
        """The added tokens of added_tokens.json and tokenizer.json, which has more details."""
        special = {str(options[name]) for name in _NAMES if options.get(name)}
        special |= {str(token) for token in _listed("extra_special_tokens", options.get("extra_special_tokens"))}
        added = {
            checked_id(index, ADDED_TOKENS_FILE): AddedToken(
                token, special=token in special, normalized=token not in special
            )
            for token, index in (self._read_json(ADDED_TOKENS_FILE) or {}).items()
        }
        listed = (self.tokenizer or {}).get("added_tokens", [])
        if not isinstance(listed, list) or not all(isinstance(token, dict) for token in listed):
            raise TokenizationError(
                f"'added_tokens' in {TOKENIZER_FILE} must be a list of tokens, got {shown(listed)}."
            )
        described = {
            checked_id(token.get("id"), TOKENIZER_FILE): {name: token[name] for name in token if name != "id"}
            for token in listed
        }
        return _added_tokens(added, ADDED_TOKENS_FILE) | _added_tokens(described, TOKENIZER_FILE)

    def _read_json(self, filename: str) -> dict[str, Any] | None:
        path = self.source.find(filename)
        return None if path is None else read_json(path)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        TokenizationError: the file has other content, or is damaged.
    """
    try:
        data = parse_json(_read_text(path))
    except ValueError as error:
        raise TokenizationError(f"{str(path)!r} is damaged, it holds no JSON ({error}): get the file again.") from error
    if not isinstance(data, dict):
        raise TokenizationError(f"{str(path)!r} must hold a JSON object, but it holds a {type(data).__name__}.")
    return data


def checked_id(index: Any, origin: str) -> int:
    """An id from a file, which may be written as text; TokenizationError where no vocabulary has such an id."""
    index = int(index) if isinstance(index, str) and re.fullmatch("[0-9]{1,10}", index) else index
    if type(index) is not int or not 0 <= index < MOST_IDS:
        raise TokenizationError(
            f"A token in {origin} has the id {shown(index)}; ids are whole numbers from 0 to {MOST_IDS - 1:,}."
        )
    return index


def _section(tokenizer: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """A section of tokenizer.json; None if it is missing or null."""
    section = tokenizer.get(name)
    if section is not None and not isinstance(section, dict):
        raise TokenizationError(f"{name!r} in {TOKENIZER_FILE} must be an object or null, got {shown(section)}.")
    return section


def _listed(name: str, tokens: Any) -> list[Any]:
    """Tokens in a file as a list, of a dictionary its tokens."""
    if not isinstance(tokens, (list, tuple, dict, type(None))):
        raise TokenizationError(f"{name} must be a list of tokens, got {shown(tokens)}.")
    return list(tokens.values() if isinstance(tokens, dict) else tokens or ())


def as_token(value: Any) -> AddedToken:
    """The AddedToken of a dictionary from a file."""
    if isinstance(value, AddedToken):
        return value
    if not isinstance(value, dict) or not isinstance(value.get("content"), str):
        raise TokenizationError(f"{shown(value)} is no added token: it needs 'content', the token itself.")
    try:
        return AddedToken(**{name: field for name, field in value.items() if name != "__type"})
    except TypeError as error:
        raise TokenizationError(f"{shown(value)} is no added token: {error}.") from error


def as_tokens(value: Any) -> Any:
    """`value` with AddedTokens in place of their dictionaries."""
    if isinstance(value, dict):
        is_token = value.get("__type") == "AddedToken"
        return as_token(value) if is_token else {name: as_tokens(item) for name, item in value.items()}
    return [as_tokens(item) for item in value] if isinstance(value, (list, tuple)) else value


def as_json(data: Mapping[str, Any]) -> str:
    """`data` as JSON, with AddedTokens as dictionaries."""
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, default=_token_as_json) + "\n"


def write_chat_template(directory: Path, prefix: str, template: str | dict[str, str] | None) -> list[Path]:
    """Write templates to separate files, remove those of an earlier save, and return the paths."""
    templates = {"default": template} if isinstance(template, str) else dict(template or {})
    folder = directory / (prefix + CHAT_TEMPLATE_DIRECTORY)
    for name in templates:
        if name != "default" and (not name or Path(name).name != name or name in (".", "..")):
            raise InputError(f"The chat template name {name!r} can't be a file name: rename it.")
    paths = {
        name: directory / (prefix + CHAT_TEMPLATE_FILE) if name == "default" else folder / f"{name}.jinja"
        for name in templates
    }
    for path in [directory / (prefix + CHAT_TEMPLATE_FILE), *folder.glob("*.jinja")]:
        if path not in paths.values():
            path.unlink(missing_ok=True)
    for name, path in paths.items():
        path.parent.mkdir(exist_ok=True)
        write_text(path, templates[name])
    return list(paths.values())


def _added_tokens(tokens: Any, filename: str) -> dict[int, AddedToken]:
    """Tokens by id, from a file, where ids may be strings."""
    if not isinstance(tokens, Mapping):
        raise TokenizationError(f"The added tokens in {filename} must be tokens by id, got {shown(tokens)}.")
    return {checked_id(index, filename): as_token(token) for index, token in tokens.items()}


def _rename_additional(options: dict[str, Any]) -> None:
    """`additional_special_tokens` is the name of `extra_special_tokens` in transformers 4."""
    additional = options.pop("additional_special_tokens", None)
    if additional and not options.get("extra_special_tokens"):
        options["extra_special_tokens"] = additional


def _as_special(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return as_token({**value, "special": True}) if "content" in value else value


def _token_as_json(value: Any) -> Any:
    if isinstance(value, AddedToken):
        return {**value.__getstate__(), "__type": "AddedToken"}
    raise InputError(f"{value!r} can't be written into {CONFIG_FILE}: it is no JSON value.")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TokenizationError(f"{str(path)!r} is damaged, it is no UTF-8 text: get the file again.") from error
