"""Text generation: the continuation of a text, or the answer in a chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minitransformers.configs.checks import check_choice
from minitransformers.errors import InputError
from minitransformers.pipelines.base import Parameters
from minitransformers.pipelines.generating import GeneratingPipeline, ReturnType
from minitransformers.pipelines.texts import encode


class TextGenerationPipeline(GeneratingPipeline):
    """Continuations of a text, by a decoder; with a chat template, answers to messages.

        generate = pipeline("text-generation", model="openai-community/gpt2")
        generate("Once upon a time", max_new_tokens=20, do_sample=False)
        generate([{"role": "user", "content": "Hello!"}])

    Keywords of a call:
        return_full_text: False returns only the new text.
        return_tensors: True returns `generated_token_ids`, the ids of prompt and continuation.
        return_type: a `ReturnType`, in place of both. `return_text=True` is the same as neither.
        prefix: a text before every prompt, which is not returned.
        stop_sequence: a text or several that end the continuation.
        handle_long_generation: "hole" drops the beginning of a prompt that leaves no room for the continuation.
        truncation, padding, add_special_tokens, max_length, tokenizer_encode_kwargs: of the tokenizer; `max_length`
            also limits prompt and continuation together.
        continue_final_message: True continues the last message of a chat; by default if it is the assistant's.
        tools, documents: of the chat template.
        skip_special_tokens: False shows them (True).
        clean_up_tokenization_spaces: of `tokenizer.decode`.
        settings of `generate`: `max_new_tokens`, `do_sample`, `num_return_sequences`, … Where neither these nor the
            model's generation config decide, 256 tokens are drawn at a temperature of 0.7.

    Returns:
        For each prompt a list of `{"generated_text"}`: the prompt with its continuation, or the messages with the
        answer.

    Raises:
        InputError: arguments that contradict each other, or a prompt without tokens where texts have no beginning.
    """

    _load_tokenizer = True
    _load_image_processor = False
    heads = ("ForCausalLM", "LMHeadModel", "DoubleHeadsModel")
    padding_side = "left"  # the end of a prompt is where its continuation begins
    _defaults = {"max_new_tokens": 256, "do_sample": True, "temperature": 0.7}

    def __call__(self, text_inputs: Any, *args: Any, **parameters: Any) -> Any:  # type: ignore[override]
        """Continue a text or a chat, or each of several; see the class."""
        return super().__call__(text_inputs, *args, **parameters)

    def _is_single(self, inputs: Any) -> bool:
        return super()._is_single(inputs) or _is_chat(inputs)

    def _sanitize_parameters(self, **parameters: Any) -> tuple[Parameters, Parameters, Parameters]:
        given = {name: value for name, value in parameters.items() if value is not None}
        given = _read_return_type(given)
        if "max_length" in given:
            given["prompt_max_length"] = given["max_length"]
        stops = given.pop("stop_sequence", None)
        if stops is not None:
            given["stop_strings"] = [stops] if isinstance(stops, str) else list(stops)
        preprocess, forward, postprocess = super()._sanitize_parameters(**given)
        if "handle_long_generation" in given:
            check_choice("handle_long_generation", given["handle_long_generation"], ("hole",))
            preprocess["settings"] = forward
        return preprocess, forward, postprocess

    def preprocess(
        self,
        prompt: Any,
        prefix: str = "",
        handle_long_generation: str | None = None,
        add_special_tokens: bool | None = None,
        truncation: Any = None,
        padding: Any = None,
        prompt_max_length: int | None = None,
        continue_final_message: bool | None = None,
        tokenizer_encode_kwargs: Mapping[str, Any] | None = None,
        tools: Any = None,
        documents: Any = None,
        settings: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Encode a prompt, or write a chat by the model's template."""
        options = {"truncation": truncation, "padding": padding, "max_length": prompt_max_length}
        options = {name: value for name, value in options.items() if value is not None}
        if _is_chat(prompt):
            encoded = self.tokenizer.apply_chat_template(
                list(prompt),
                add_generation_prompt=not _continues(prompt, continue_final_message),
                continue_final_message=_continues(prompt, continue_final_message),
                return_dict=True,
                return_tensors="pt",
                tools=tools,
                documents=documents,
                **{**options, **(tokenizer_encode_kwargs or {})},
            )
        else:
            if not isinstance(prompt, str):
                raise InputError(f"A prompt must be a str or a list of messages, got {prompt!r:.80}.")
            if add_special_tokens is not None:
                options["add_special_tokens"] = add_special_tokens
            options |= dict(tokenizer_encode_kwargs or {})
            text = prefix + prompt
            if text or self.tokenizer.bos_token_id is None:
                encoded = encode(self, text, **options)
            else:  # texts begin with `bos_token`
                encoded = encode(self, str(self.tokenizer.bos_token), add_special_tokens=False)
        inputs = {name: encoded[name] for name in ("input_ids", "attention_mask") if name in encoded}
        if handle_long_generation == "hole":
            inputs = self._with_room(inputs, settings or {})
        return {**inputs, "prompt_text": prompt}

    def _with_room(self, inputs: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """The end of a prompt that leaves room for the new tokens within `tokenizer.model_max_length`."""
        settings = self._decided(self._settings(given))
        length, limit = inputs["input_ids"].shape[1], self.tokenizer.model_max_length
        new = settings.get("max_new_tokens")
        new = settings["max_length"] - length if new is None else new
        if new < 0 or new >= limit:
            raise InputError(f"handle_long_generation='hole': {new} new tokens do not fit into {limit}.")
        keep = max(int(min(length, limit - new)), 1)
        return {name: value[:, -keep:] for name, value in inputs.items()}

    def _forward(self, model_inputs: Any, **generate_kwargs: Any) -> dict[str, Any]:
        prompts = model_inputs.pop("prompt_text")
        settings = self._settings(generate_kwargs)
        if self._decided(settings).get("stop_strings") is not None:
            settings["tokenizer"] = self.tokenizer
        rows = model_inputs["input_ids"].shape[0]
        grouped = self._generate(rows, **model_inputs, **settings)
        return {**grouped, "input_ids": model_inputs["input_ids"], "prompt_text": prompts}

    def postprocess(
        self,
        model_outputs: Mapping[str, Any],
        return_type: ReturnType = ReturnType.FULL_TEXT,
        clean_up_tokenization_spaces: bool | None = None,
        continue_final_message: bool | None = None,
        skip_special_tokens: bool = True,
    ) -> list[dict[str, Any]]:
        """Decode the continuations of a prompt."""
        outputs = dict(model_outputs)
        sequences = outputs.pop("generated_sequence")[0].tolist()
        begin, prompt = outputs.pop("input_ids").shape[1], outputs.pop("prompt_text")
        records = []
        for number, sequence in enumerate(sequences):
            further = {name: value[0][number].tolist() for name, value in outputs.items()}
            if return_type is ReturnType.TENSORS:
                records.append({"generated_token_ids": sequence})
                continue
            new = self.tokenizer.decode(
                sequence[begin:],
                skip_special_tokens=skip_special_tokens,
                clean_up_tokenization_spaces=clean_up_tokenization_spaces,
            )
            if return_type is ReturnType.FULL_TEXT:
                new = _joined(prompt, new, continue_final_message)
            records.append({"generated_text": new, **further})
        return records


def _is_chat(inputs: Any) -> bool:
    """Whether `inputs` is a list of messages."""
    first = inputs[0] if isinstance(inputs, (list, tuple)) and inputs else None
    return isinstance(first, Mapping) and "role" in first and "content" in first


def _continues(messages: Sequence[Mapping[str, Any]], asked: bool | None) -> bool:
    return messages[-1]["role"] == "assistant" if asked is None else asked


def _joined(prompt: Any, new: str, continue_final_message: bool | None) -> Any:
    """The prompt with its continuation, or the messages with the answer."""
    if isinstance(prompt, str):
        return prompt + new
    messages = list(prompt)
    if _continues(messages, continue_final_message):
        last = messages[-1]
        return [*messages[:-1], {"role": last["role"], "content": last["content"] + new}]
    return [*messages, {"role": "assistant", "content": new}]


def _read_return_type(parameters: Parameters) -> Parameters:
    """`return_full_text`, `return_tensors` and `return_text` as one `return_type`.

    Raises:
        InputError: they contradict each other.
    """
    names = ("return_full_text", "return_tensors", "return_text")
    given = {name: parameters.pop(name) for name in names if name in parameters}
    if "return_type" in parameters or not given:
        return parameters
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} exclude each other: pass only one of them.")
    if "return_full_text" in given:
        chosen = ReturnType.FULL_TEXT if given["return_full_text"] else ReturnType.NEW_TEXT
    else:
        chosen = ReturnType.TENSORS if given.get("return_tensors") else ReturnType.FULL_TEXT
    return {**parameters, "return_type": chosen}
