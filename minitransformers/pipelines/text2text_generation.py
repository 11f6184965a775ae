"""Text to text: an encoder–decoder writes a text for another one, such as a summary or a translation.

transformers had these tasks until version 4; names, arguments and outputs are those of its last releases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from minitransformers.errors import InputError
from minitransformers.pipelines.base import Parameters
from minitransformers.pipelines.generating import GeneratingPipeline, ReturnType
from minitransformers.pipelines.texts import encode


class Text2TextGenerationPipeline(GeneratingPipeline):
    """The text that an encoder–decoder writes for a text.

        generate = pipeline("text2text-generation", model="google-t5/t5-small")
        generate("translate English to German: How are you?")

    `config.task_specific_params` may have settings for the task: a `prefix` before the text, and settings of
    `generate`, which override the model's generation config; the constructor and the call override both.

    Keywords of a call:
        truncation: True cuts a text that is too long.
        return_tensors: True returns token ids. `return_type` takes a `ReturnType` in its place.
        clean_up_tokenization_spaces: of `tokenizer.decode`.
        stop_sequence: a text that ends the answer.
        settings of `generate`. Where nothing else decides, up to 256 tokens, by 4 beams.

    Returns:
        For a text a list of `{"generated_text"}`, or `{"generated_token_ids"}`, one for each returned sequence. A list
        of texts gives such a record for each, or a list of them where `num_return_sequences` is above 1.
    """

    _load_tokenizer = True
    _load_image_processor = False
    heads = ("ForConditionalGeneration",)
    return_name: ClassVar[str] = "generated"
    _defaults = {"max_new_tokens": 256, "num_beams": 4}

    def __call__(self, inputs: Any, *args: Any, **parameters: Any) -> Any:
        """Write a text for each input; see the class."""
        answers = super().__call__(inputs, *args, **parameters)
        several = isinstance(inputs, (list, tuple)) and all(len(answer) == 1 for answer in answers)
        return [answer[0] for answer in answers] if several else answers

    def _sanitize_parameters(self, **parameters: Any) -> tuple[Parameters, Parameters, Parameters]:
        given = {name: value for name, value in parameters.items() if value is not None}
        asks_for_ids = given.pop("return_tensors", False)
        given.pop("return_text", None)
        if asks_for_ids:
            given.setdefault("return_type", ReturnType.TENSORS)
        stops = given.pop("stop_sequence", None)
        if stops is not None:
            given["stop_strings"] = [stops] if isinstance(stops, str) else list(stops)
        return super()._sanitize_parameters(**given)

    @property
    def _task_settings(self) -> dict[str, Any]:
        """What the model's configuration says on this task."""
        settings = getattr(self.model.config, "task_specific_params", None) or {}
        return dict(settings.get(self.task, {}))

    def preprocess(self, text: Any, truncation: Any = None) -> Any:
        """Encode a text, with the prefix of the task."""
        prefix = self._task_settings.get("prefix") or getattr(self.model.config, "prefix", None) or ""
        return self._encode(text, prefix, truncation)

    def _encode(self, text: Any, prefix: str, truncation: Any) -> Any:
        if not isinstance(text, str):
            raise InputError(f"A text must be a str, got {text!r:.80}.")
        options = {} if truncation is None else {"truncation": truncation}
        encoded = encode(self, prefix + text, **options)
        return {name: encoded[name] for name in ("input_ids", "attention_mask") if name in encoded}

    def _forward(self, model_inputs: Any, **generate_kwargs: Any) -> dict[str, Any]:
        names = self._further_names()
        of_task = {name: value for name, value in self._task_settings.items() if name in names}
        settings = self._settings(generate_kwargs, of_task)
        if self._decided(settings).get("stop_strings") is not None:
            settings["tokenizer"] = self.tokenizer
        grouped = self._generate(model_inputs["input_ids"].shape[0], **model_inputs, **settings)
        return {"output_ids": grouped["generated_sequence"]}

    def postprocess(
        self,
        model_outputs: Mapping[str, Any],
        return_type: ReturnType = ReturnType.FULL_TEXT,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[dict[str, Any]]:
        """Decode the texts."""
        sequences = model_outputs["output_ids"][0]
        if return_type is ReturnType.TENSORS:
            return [{f"{self.return_name}_token_ids": sequence} for sequence in sequences]
        options = {"clean_up_tokenization_spaces": clean_up_tokenization_spaces}
        texts = self.tokenizer.batch_decode(sequences, skip_special_tokens=True, **options)
        return [{f"{self.return_name}_text": text} for text in texts]


class SummarizationPipeline(Text2TextGenerationPipeline):
    """Summaries: `{"summary_text"}` for each text; otherwise as text-to-text generation.

    pipeline("summarization", model="…")("A long text …", max_new_tokens=60)
    """

    return_name = "summary"


class TranslationPipeline(Text2TextGenerationPipeline):
    """Translations: `{"translation_text"}` for each text; otherwise as text-to-text generation.

        pipeline("translation_en_to_fr", model="google-t5/t5-small")("How are you?")

    The languages of T5 are in the name of the task or in `src_lang` and `tgt_lang`, which choose the prefix of
    `config.task_specific_params`.

    Keywords of a call:
        src_lang, tgt_lang: codes such as "en" and "fr".
    """

    return_name = "translation"

    def __init__(self, *args: Any, src_lang: str | None = None, tgt_lang: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _, _, languages = self.task.partition("translation_")
        named = languages.split("_to_") if "_to_" in languages else [None, None]
        self.src_lang, self.tgt_lang = src_lang or named[0], tgt_lang or named[1]

    def preprocess(
        self, text: Any, truncation: Any = None, src_lang: str | None = None, tgt_lang: str | None = None
    ) -> Any:
        """Encode a text, with the prefix of the two languages."""
        source, target = src_lang or self.src_lang, tgt_lang or self.tgt_lang
        if source is None and target is None:
            return super().preprocess(text, truncation)
        task = f"translation_{source}_to_{target}"
        settings = getattr(self.model.config, "task_specific_params", None) or {}
        if settings and task not in settings:
            known = ", ".join(name for name in settings if name.startswith("translation_"))
            raise InputError(f"The model does not translate {source!r} to {target!r}; its configuration has {known}.")
        return self._encode(text, settings.get(task, {}).get("prefix", ""), truncation)
