"""An interactive page of attention: one HTML file, which needs no network, from the trace of any model.

    with trace(model) as activations:
        model(**inputs)
    attention_page(activations, tokens).save("attention.html")     # in a notebook: the last value of a cell

It shows for a layer and head what a token attends to (Vig, 2019, "A multiscale visualization of attention in the
transformer model", §3.1) and, as its neuron view (§3.3), the products of query and key from which the weight comes.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.files.atomic import write_text
from minitransformers.interpret.tracing import Activations

_TEMPLATE = Path(__file__).with_name("page.html")
_NAMES = {"self": "Self-attention", "encoder": "Encoder", "decoder": "Decoder", "cross": "Decoder to encoder"}


@dataclass(frozen=True)
class AttentionPage:
    """The page's content; `html` is the whole file, and a notebook shows it.

    Attributes:
        data: read by the page's script: `groups`, each with a `name`, `queries` and `keys` (tokens) and `layers`, whose
            `weights[head][query][key]`, `query[head][token][dimension]` and `key[…]` are the model's float32 numbers.
    """

    data: dict[str, Any]

    @property
    def html(self) -> str:
        """The file's text."""
        # "<" cannot end the script element, or open a comment in it, in this form.
        data = json.dumps(self.data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        title = html.escape(self.data["title"])
        parts = {"title": title, "data": data}
        return re.sub(r"\{\{(title|data)\}\}", lambda found: parts[found[1]], _TEMPLATE.read_text("utf-8"))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file, and return where."""
        path = Path(path)
        write_text(path, self.html)
        return path

    def _repr_html_(self) -> str:
        """The page in a frame, so that its styles and the notebook's do not meet."""
        return (
            f'<iframe title="{html.escape(self.data["title"])}" sandbox="allow-scripts" '
            f'style="width:100%;height:680px;border:0" srcdoc="{html.escape(self.html)}"></iframe>'
        )


def attention_page(
    activations: Activations,
    tokens: Sequence[str],
    decoder_tokens: Sequence[str] | None = None,
    *,
    batch: int = 0,
    layers: Sequence[int] | None = None,
    title: str = "Attention",
) -> AttentionPage:
    """The page of a trace.

    Args:
        activations: of one forward pass.
        tokens: the text of each token: `tokenizer.convert_ids_to_tokens(input_ids[0])`. Of an encoder-decoder, the
            source's.
        decoder_tokens: the target's.
        batch: the row of the batch.
        layers: the layers to show, from 0; default: all. A page of n tokens has n² numbers for each head and layer.
        title: of the page.

    Raises:
        InputError: no attention was recorded, or tokens, batch or layers do not fit it.
    """
    if not activations.attentions:
        raise InputError("The trace has no attention. Call the model inside `with trace(model) as activations:`.")
    groups = []
    for kind in dict.fromkeys(each.kind for each in activations.attentions):
        calls = [each for each in activations.attentions if each.kind == kind]
        queries = _tokens(kind in ("decoder", "cross"), tokens, decoder_tokens)
        keys = _tokens(kind == "decoder", tokens, decoder_tokens)
        shown = []
        for number in range(len(calls)) if layers is None else layers:
            if not 0 <= number < len(calls):
                raise InputError(f"There is no layer {number}: layers are 0 to {len(calls) - 1}.")
            call = calls[number]
            if not 0 <= batch < len(call.weights):
                raise InputError(f"There is no row {batch}: the batch has {len(call.weights)}.")
            lengths = tuple(call.weights.shape[-2:])
            if lengths != (len(queries), len(keys)):
                raise InputError(
                    f"{call.name!r} has {lengths[0]} queries and {lengths[1]} keys, but there are tokens for "
                    f"{len(queries)} and {len(keys)}."
                )
            arrays = {"weights": call.weights, "query": call.query, "key": call.key}
            shown.append(
                {"number": number, "name": call.name, **{name: _floats(each[batch]) for name, each in arrays.items()}}
            )
        groups.append({"kind": kind, "name": _NAMES[kind], "queries": queries, "keys": keys, "layers": shown})
    return AttentionPage({"title": title, "groups": groups})


def _tokens(of_decoder: bool, tokens: Sequence[str], decoder_tokens: Sequence[str] | None) -> list[str]:
    chosen = decoder_tokens if of_decoder else tokens
    if chosen is None:
        raise InputError("The model has a decoder with tokens of its own: give their text as decoder_tokens.")
    if isinstance(chosen, str) or not all(isinstance(token, str) for token in chosen):
        raise InputError(
            f"tokens must be a list of strings, not {chosen!r:.80}. "
            "`tokenizer.convert_ids_to_tokens(input_ids[0])` makes one of ids."
        )
    return list(chosen)


def _floats(tensor: Float[Tensor, "heads row column"]) -> list[list[list[float]]]:
    """The numbers as float32, each in the fewest digits that give it back."""
    array = tensor.detach().float().cpu().numpy()
    digits = np.array([float(str(number)) for number in array.ravel()])
    nested: list[list[list[float]]] = digits.reshape(array.shape).tolist()
    return nested
