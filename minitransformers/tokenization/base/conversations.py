"""Conversations to ids: `apply_chat_template`.

The folder chat writes a conversation as text, by the template of the model. Here this text is encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minitransformers.errors import InputError
from minitransformers.tokenization.base.arguments import choose_lengths
from minitransformers.tokenization.base.codec import Codec
from minitransformers.tokenization.base.encoding import BatchEncoding
from minitransformers.tokenization.chat import control_tokens, templates


class ChatCodec(Codec):
    """The part of a tokenizer that encodes conversations."""

    chat_template: templates.Templates
    chat_control_tokens: list[str] | None

    def get_chat_template(self, chat_template: str | None = None, tools: Sequence[Any] | None = None) -> str:
        """The template that `apply_chat_template` uses with these arguments.

        Args:
            chat_template: a template, or the name of one of the tokenizer's. By default the only one, "tool_use" if
                there are tools and such a template, or "default".
            tools: as in `apply_chat_template`.

        Raises:
            InputError: there is no template, or several and no "default".
        """
        return templates.choose_template(self.chat_template, chat_template, tools)

    def apply_chat_template(
        self,
        conversation: Any,
        tools: Sequence[Any] | None = None,
        documents: Sequence[Any] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        tokenize: bool = True,
        sanitize_control_tokens: bool = False,
        padding: Any = False,
        truncation: Any = False,
        max_length: Any = None,
        return_tensors: Any = None,
        return_dict: bool = True,
        return_assistant_tokens_mask: bool = False,
        tokenizer_kwargs: dict[str, Any] | None = None,
        **template_variables: Any,
    ) -> Any:
        """Write a conversation by the model's template, and encode it. Needs jinja2 (`minitransformers[demo]`).

        Args:
            conversation: messages `{"role": "user", "content": "…"}`, or a batch of conversations.
            tools: functions with type hints and docstrings, or JSON schemas, for templates that offer tools.
            documents: `{"title": "…", "text": "…"}`, for templates that use documents.
            chat_template: a template, or the name of one of the tokenizer's; by default as in `get_chat_template`.
            add_generation_prompt: add the beginning of the model's answer.
            continue_final_message: leave the last message open for the model to continue; a str is the field to
                continue instead of "content".
            tokenize: False returns the text.
            sanitize_control_tokens: encode control tokens inside messages, tools, documents and variables as ordinary
                text; only those of the template are control tokens.
            padding, truncation, max_length, return_tensors: as in a call.
            return_dict: False returns only the ids.
            return_assistant_tokens_mask: add `assistant_masks`, 1 at the tokens of the assistant, for templates that
                mark them by `{% generation %}`.
            tokenizer_kwargs: further arguments of the call.
            template_variables: further variables of the template, beside the special tokens.

        Raises:
            InputError: no template, an empty conversation, or arguments that contradict each other.
            ImportError: jinja2 is missing.
        """
        return_dict = return_dict and tokenize
        if return_assistant_tokens_mask and not return_dict:
            raise InputError("return_assistant_tokens_mask=True needs tokenize=True and return_dict=True.")
        if continue_final_message and (add_generation_prompt or return_assistant_tokens_mask):
            raise InputError(
                "continue_final_message leaves the last message open: it contradicts add_generation_prompt and "
                "return_assistant_tokens_mask. Pass only one of them."
            )
        if sanitize_control_tokens and (return_assistant_tokens_mask or tokenizer_kwargs or not tokenize):
            raise InputError(
                "sanitize_control_tokens=True needs tokenize=True, and neither return_assistant_tokens_mask nor "
                "tokenizer_kwargs."
            )
        template = self.get_chat_template(chat_template, tools)
        inputs, batched = templates.read_inputs(conversation, tools, documents, template_variables)
        if sanitize_control_tokens:
            added_tokens = self.added_tokens_decoder.values()
            inputs = control_tokens.mark_control_tokens(inputs, template, added_tokens, self.chat_control_tokens)
        texts, spans = templates.render(
            template,
            inputs,
            special_tokens=self.special_tokens_map,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            track_assistant=return_assistant_tokens_mask,
        )
        if not tokenize:
            return texts if batched else texts[0]
        if sanitize_control_tokens:
            rows = [self._encode_marked(text) for text in texts]
            lengths = choose_lengths(padding, "right", truncation, max_length, 0, None, self.model_max_length, True)
            if lengths.truncation and (limit := lengths.max_length) is not None:
                from_right = self.truncation_side == "right"
                rows = [row[:limit] if from_right else row[max(len(row) - limit, 0) :] for row in rows]
            ids = {"input_ids": rows if batched or return_tensors else rows[0]}
            encoded = self.pad(ids, padding, max_length, return_tensors=return_tensors, verbose=False)
        else:
            options = {"padding": padding, "truncation": truncation, "max_length": max_length}
            options |= {"return_tensors": return_tensors, "add_special_tokens": False, **(tokenizer_kwargs or {})}
            encoded = self(texts if batched else texts[0], **options)
        if return_assistant_tokens_mask:
            masks = [_mask_of_spans(encoded, row, marked) for row, marked in enumerate(spans)]
            encoded["assistant_masks"] = masks if batched or return_tensors else masks[0]
            encoded.convert_to_tensors(return_tensors)
        return encoded if return_dict else encoded["input_ids"]

    def _encode_marked(self, text: str) -> list[int]:
        """The ids of a rendered conversation, with marked control tokens as ordinary text."""
        first, *others = control_tokens.split_at_marks(text, self.added_tokens_encoder)
        newline: list[int] = self.encode("\n", add_special_tokens=False)
        ids: list[int] = self.encode(first.text, add_special_tokens=False)
        for piece in others:
            # Some tokenizers add a space at the start of a text. A newline in front prevents that.
            piece_ids = self._encode_piece(piece, "\n")
            starts = piece_ids[: len(newline)] == newline
            piece_ids = piece_ids[len(newline) :] if starts else self._encode_piece(piece, "")
            if piece.is_marked and self.convert_tokens_to_ids(piece.text) in piece_ids:
                raise InputError(f"sanitize_control_tokens=True: {piece.text!r} is one token even as ordinary text.")
            ids += piece_ids
        return ids

    def _encode_piece(self, piece: control_tokens.Piece, before: str) -> list[int]:
        if piece.is_marked:
            return control_tokens.encode_as_text(self._tokenizer, before + piece.text)
        ids: list[int] = self.encode(before + piece.text, add_special_tokens=False)
        return ids


def _mask_of_spans(encoded: BatchEncoding, row: int, spans: list[tuple[int, int]]) -> list[int]:
    """1 at the tokens of the characters in `spans`, 0 elsewhere, for one sequence of a batch."""
    mask = [0] * len(encoded.tokens(row))
    for start, end in spans:
        first, last = encoded.char_to_token(row, start), encoded.char_to_token(row, end - 1)
        if first is None:  # it was truncated, and so were all later tokens
            break
        stop = len(mask) if last is None else last + 1
        mask[first:stop] = [1] * (stop - first)
    return mask
