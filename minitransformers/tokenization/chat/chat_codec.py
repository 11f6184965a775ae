"""Conversations to ids: `apply_chat_template`.

The template, and the text that it makes of a conversation, are the matter of templates.py; here that text is encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minitransformers.errors import InputError
from minitransformers.tokenization.base.codec import Codec
from minitransformers.tokenization.base.encoding import BatchEncoding
from minitransformers.tokenization.chat import control_tokens, templates


class ChatCodec(Codec):
    """The part of a tokenizer that encodes conversations."""

    chat_template: templates.Templates
    chat_control_tokens: list[str] | None

    def get_chat_template(self, chat_template: str | None = None, tools: Sequence[Any] | None = None) -> str:
        """The template that `apply_chat_template` would take.

        Args:
            chat_template: a template, or the name of one of the tokenizer's. Unless given, the only one, "tool_use"
                where there are tools and such a template, or "default".
            tools: as in `apply_chat_template`.

        Raises:
            InputError: there is none, or several and no "default".
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
        """Write a conversation as the model's template says, and encode it. Needs jinja2 (`minitransformers[demo]`).

        Args:
            conversation: messages `{"role": "user", "content": "…"}`, or a batch of conversations.
            tools: functions with type hints and docstrings, or JSON schemas, for templates that offer tools.
            documents: `{"title": "…", "text": "…"}`, for templates that look things up.
            chat_template: a template, or the name of one of the tokenizer's; its own unless given.
            add_generation_prompt: end with what begins the model's answer.
            continue_final_message: leave the last message open for the model to continue; a str names the field to
                continue instead of "content".
            tokenize: whether to encode; else the result is the text.
            sanitize_control_tokens: encode control tokens that stand in messages, tools, documents or variables as
                ordinary text, so that only the template's own count.
            padding, truncation, max_length, return_tensors: as in a call.
            return_dict: whether to return all fields or only the ids.
            return_assistant_tokens_mask: add `assistant_masks`, 1 at the tokens of the assistant, for templates that
                mark them by `{% generation %}`.
            tokenizer_kwargs: further arguments of the call.
            template_variables: what the template sees beside the special tokens.

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
            steering = control_tokens.steering_tokens(self, template, self.chat_control_tokens)
            inputs = control_tokens.mark_control_tokens(inputs, steering)
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
        lengths = {"padding": padding, "truncation": truncation, "max_length": max_length}
        if sanitize_control_tokens:
            rows = [control_tokens.encode_marked(self, text) for text in texts]
            encoded = self._fit(
                rows if batched or return_tensors else rows[0], return_tensors=return_tensors, **lengths
            )
        else:
            encoded = self(
                texts if batched else texts[0],
                add_special_tokens=False,
                return_tensors=return_tensors,
                tokenizer_kwargs=tokenizer_kwargs,
                **lengths,
            )
        if return_assistant_tokens_mask:
            masks = templates.assistant_masks(encoded, spans)
            encoded["assistant_masks"] = masks if batched or return_tensors else masks[0]
            encoded.convert_to_tensors(return_tensors)
        return encoded if return_dict else encoded["input_ids"]

    def _fit(
        self, ids: list[Any], *, padding: Any, truncation: Any, max_length: Any, return_tensors: Any = None
    ) -> BatchEncoding:
        """Truncate and pad ids without special tokens: one sequence, or a batch of them."""
        lengths = self._lengths(padding, truncation, max_length, 0, None, None, True)

        def cut(row: list[int]) -> list[int]:
            if not lengths.truncates or lengths.max_length is None or len(row) <= lengths.max_length:
                return row
            return row[: lengths.max_length] if self.truncation_side == "right" else row[-lengths.max_length :]

        cut_ids = [cut(row) for row in ids] if ids and isinstance(ids[0], list) else cut(ids)
        return self.pad({"input_ids": cut_ids}, padding, max_length, return_tensors=return_tensors, verbose=False)
