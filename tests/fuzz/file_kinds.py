"""Every kind of file that is read: how a good one is made, and what is then done with it, as a user would."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from training_kinds import TRAINING

import minitransformers as mt
from minitransformers.adapters import LoraConfig, add_adapter, load_adapter, save_adapter
from minitransformers.auto import CONFIG_MAPPING
from minitransformers.configs.limits import least_elements
from minitransformers.data import TokenCorpus, tokenize_corpus
from minitransformers.files.hub import Source
from minitransformers.files.reading import open_checkpoint


@dataclass(frozen=True)
class FileKind:
    """A kind of file.

    Attributes:
        make: writes a good directory.
        file: the one in it that is changed.
        use: reads the directory (the first argument) and does with it what users do; may write into the second.
    """

    make: Callable[[Path], object]
    file: str
    use: Callable[[Path, Path], object]


# ---- models ----------------------------------------------------------------------------------------------------------

_TEXT = {"vocab_size": 23, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
_GROUPED = {**_TEXT, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 16}
_WIDE = {**_TEXT, "hidden_size": 24, "intermediate_size": 16}
_GPT = {"vocab_size": 23, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 8}
_SIZES: dict[str, dict[str, Any]] = {
    "albert": {**_TEXT, "embedding_size": 6, "intermediate_size": 16, "max_position_embeddings": 8},
    "bart": {
        "vocab_size": 23,
        "d_model": 12,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_attention_heads": 3,
        "decoder_attention_heads": 3,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
        "max_position_embeddings": 8,
    },
    "distilbert": {
        "vocab_size": 23,
        "dim": 12,
        "n_layers": 2,
        "n_heads": 3,
        "hidden_dim": 16,
        "max_position_embeddings": 8,
    },
    "gpt2": _GPT,
    "openai-gpt": _GPT,
    "gpt_neo": {
        "vocab_size": 23,
        "hidden_size": 12,
        "num_layers": 2,
        "num_heads": 3,
        "max_position_embeddings": 8,
        "attention_types": [[["global", "local"], 1]],
    },
    "t5": {"vocab_size": 23, "d_model": 12, "d_kv": 4, "d_ff": 16, "num_layers": 2, "num_heads": 3},
    "vit": {**_TEXT, "image_size": 8, "patch_size": 4, "intermediate_size": 16},
    "dinov2": {**_TEXT, "image_size": 8, "patch_size": 4},
    "llama": _GROUPED,
    "mistral": _GROUPED,
    "qwen2": _GROUPED,
    "gpt_neox": _WIDE,
    "modernbert": _WIDE,
}
_SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_BERT_LIKE = {**_TEXT, "intermediate_size": 16, "max_position_embeddings": 8}


def _config(model_type: str) -> Any:
    sizes = _SIZES.get(model_type, _BERT_LIKE)
    special = {} if model_type in ("vit", "dinov2") else dict(_SPECIAL)
    if model_type == "modernbert":
        special |= {"cls_token_id": 1, "sep_token_id": 2}
    return mt.AutoConfig.for_model(model_type, **sizes, **special)


def _model(model_type: str, head: str = "AutoModel") -> Any:
    torch.manual_seed(0)
    return getattr(mt, head).from_config(_config(model_type)).eval()


def _whole_config(directory: Path, model_type: str) -> None:
    """With every field, so that each can be changed."""
    _model(model_type).save_pretrained(directory)
    content = json.loads((directory / "config.json").read_text())
    content |= {name: value for name, value in _config(model_type).to_dict().items() if value is not None}
    (directory / "config.json").write_text(json.dumps(content))


def _use_config(directory: Path, out: Path) -> None:
    config = mt.AutoConfig.from_pretrained(str(directory))
    config.save_pretrained(out)
    repr(config)
    model = mt.AutoModel.from_pretrained(str(directory))
    if least_elements(config) < 10**6 and config.num_hidden_layers < 10:
        _run(model)


def _run(model: Any) -> None:
    if "pixel_values" in model._forward_arguments:
        sides = model.config.image_size
        sides = [sides] * 2 if isinstance(sides, int) else sides
        model(pixel_values=torch.ones(1, model.config.num_channels, *sides))
        return
    inputs = {"input_ids": torch.tensor([[1, 2, 0]]).clamp(max=model.config.vocab_size - 1)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = inputs["input_ids"]
    model(**inputs)


def _language_model(directory: Path) -> None:
    model = _model("gpt2", "AutoModelForCausalLM")
    model.generation_config.update({"max_new_tokens": 3, "do_sample": True, "top_k": 5, "num_beams": 2})
    model.save_pretrained(directory)
    content = json.loads((directory / "generation_config.json").read_text())
    whole = {name: value for name, value in model.generation_config.to_dict().items() if value is not None}
    (directory / "generation_config.json").write_text(json.dumps({**whole, **content}))


def _generate(directory: Path, out: Path) -> None:
    mt.GenerationConfig.from_pretrained(str(directory)).save_pretrained(out)
    model = mt.AutoModelForCausalLM.from_pretrained(str(directory))
    model.generate(torch.tensor([[1, 3]]))


# ---- weights ---------------------------------------------------------------------------------------------------------


def _in_shards(directory: Path) -> None:
    _model("gpt2").save_pretrained(directory, max_shard_size="4KB")


def _as_pickle(directory: Path, zipped: bool) -> None:
    model = _model("gpt2")
    model.config.save_pretrained(directory)
    torch.save(
        {"wte.weight": torch.ones(3, 4), "h.0.ln_1.weight": torch.ones(4, dtype=torch.float64)},
        directory / "pytorch_model.bin",
        _use_new_zipfile_serialization=zipped,
    )


def _use_weights(directory: Path, out: Path) -> None:
    mt.AutoModel.from_pretrained(str(directory)).save_pretrained(out)


def _read_tensors(directory: Path, out: Path) -> None:
    checkpoint = open_checkpoint(Source(str(directory)))
    for name in checkpoint:
        checkpoint[name].clone()


# ---- tokenizers ------------------------------------------------------------------------------------------------------

_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##b", "hello", "wor", "##ld", "!", "é"]
_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}{{ message['content'] | trim }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def _bert(directory: Path) -> None:
    vocab = {word: index for index, word in enumerate(_WORDS)}
    tokenizer = mt.BertTokenizer(vocab, chat_template=_TEMPLATE, extra_special_tokens=["<x>"])
    tokenizer.add_tokens(["new"])
    tokenizer.save_pretrained(directory)


def _bert_of_old(directory: Path) -> None:
    (directory / "vocab.txt").write_text("\n".join(_WORDS) + "\n")
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512})
    )
    (directory / "special_tokens_map.json").write_text(
        json.dumps(
            {
                "cls_token": "[CLS]",
                "pad_token": {"content": "[PAD]", "lstrip": False, "normalized": False},
                "additional_special_tokens": ["<x>", {"content": "<y>"}],
            }
        )
    )
    (directory / "added_tokens.json").write_text(json.dumps({"<x>": 13, "<y>": 14}))


def _bpe(directory: Path) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())[:40]
    vocab = {"<|endoftext|>": 0, **{letter: index for index, letter in enumerate(alphabet, 1)}}
    merges = [(alphabet[5], alphabet[6]), (alphabet[5] + alphabet[6], alphabet[7])]
    for left, right in merges:
        vocab[left + right] = len(vocab)
    mt.GPT2Tokenizer(vocab, merges, pad_token="<|endoftext|>").save_pretrained(directory)


def _bpe_of_old(directory: Path) -> None:
    _bpe(directory)
    model = json.loads((directory / "tokenizer.json").read_text())["model"]
    (directory / "tokenizer.json").unlink()
    (directory / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (directory / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")


_PIECES = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("▁a", -2.5), ("a", -3.0), ("b", -3.5)]


def _unigram(directory: Path) -> None:
    mt.T5Tokenizer(_PIECES, extra_ids=2).save_pretrained(directory)


def _sentencepiece(directory: Path) -> None:
    def field(number: int, value: bytes | int) -> bytes:
        if isinstance(value, int):
            return bytes([number << 3, value]) if number < 16 else bytes([number << 3 & 127 | 128, number >> 4, value])
        return bytes([number << 3 | 2, len(value)]) + value

    content = b""
    for piece, score in _PIECES:
        kind = field(3, {"<unk>": 2, "<pad>": 3, "</s>": 3}.get(piece, 1))
        content += field(1, field(1, piece.encode()) + bytes([2 << 3 | 5]) + struct.pack("<f", score) + kind)
    content += field(2, field(3, 1) + field(40, 2))
    (directory / "spiece.model").write_bytes(content)
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 2}))


def _any_pipeline(directory: Path) -> None:
    backend = Tokenizer(models.BPE({"<unk>": 0, "a": 1, "b": 2, "ab": 3}, [("a", "b")], unk_token="<unk>"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    mt.PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", add_bos_token=True
    ).save_pretrained(directory)


def _use_tokenizer(directory: Path, out: Path) -> None:
    tokenizer = mt.AutoTokenizer.from_pretrained(str(directory))
    ids = tokenizer("ab Hello world! é <x> new")["input_ids"]
    tokenizer.decode(ids, skip_special_tokens=True)
    tokenizer(["a b", "a"], ["b", "b a"], padding=tokenizer.pad_token is not None, truncation=True, max_length=6)
    repr(tokenizer)
    if tokenizer.chat_template is not None:
        tokenizer.apply_chat_template([{"role": "user", "content": "a b"}], tokenize=False)
    tokenizer.save_pretrained(out)
    mt.AutoTokenizer.from_pretrained(str(out))


# ---- templates -------------------------------------------------------------------------------------------------------


def _template(directory: Path) -> None:
    _bert(directory)
    (directory / "chat_template.jinja").write_text(
        "{% macro said(m) %}{{ m.content | upper }}{% endmacro %}{% set ns = namespace(n=0, all=[]) %}"
        "{% for m in messages %}{% set ns.n = ns.n + 1 %}{% if loop.first and m.role == 'system' %}{{ said(m) }}"
        "{% elif m['role'] in ['user', 'assistant'] %}[{{ m.role.ljust(10) }}]{{ said(m) * 2 }}{% else %}"
        "{{ raise_exception('no role') }}{% endif %}{% endfor %}{{ ns.n ** 2 }}{{ messages | tojson(indent=2) }}"
        "{% for i in range(3) %}{{ '%5d' % i ~ bos_token }}{% set ns.all = ns.all + [i] %}{% endfor %}"
        "{{ ns.all | join(', ') }}{% if tools is defined %}{{ strftime_now('%Y') }}{% endif %}"
    )


def _render(directory: Path, out: Path) -> None:
    tokenizer = mt.AutoTokenizer.from_pretrained(str(directory))
    chat = [{"role": "system", "content": "a"}, {"role": "user", "content": "hello b"}]
    tokenizer.apply_chat_template(chat, tokenize=False, bos_token="<s>")


# ---- the others ------------------------------------------------------------------------------------------------------


def _adapted(directory: Path) -> None:
    model = _model("bert")
    add_adapter(model, LoraConfig(r=2, target_modules=["query", "value"]))
    save_adapter(model, directory)


def _use_adapter(directory: Path, out: Path) -> None:
    model = _model("bert")
    load_adapter(model, str(directory))
    _run(model)


def _corpus(directory: Path) -> None:
    _bert(directory / "tokenizer")
    tokenizer = mt.BertTokenizer.from_pretrained(str(directory / "tokenizer"))
    tokenize_corpus(["a b hello", "world!", "a"], tokenizer, directory / "corpus", shard_tokens=6, show_progress=False)
    shutil.rmtree(directory / "tokenizer")
    for path in (directory / "corpus").iterdir():
        path.rename(directory / path.name)
    (directory / "corpus").rmdir()
    next(iter(sorted(directory.glob("*.tokens")))).rename(directory / "first.tokens")
    manifest = json.loads((directory / "corpus.json").read_text())
    manifest["shards"][0]["file"] = "first.tokens"
    (directory / "corpus.json").write_text(json.dumps(manifest))


def _use_corpus(directory: Path, out: Path, verify: bool = True) -> None:
    corpus = TokenCorpus(directory, verify=verify)
    sum(int(np.sum(document)) for document in corpus.documents)
    corpus.blocks(2)[0]


def _processor(directory: Path) -> None:
    mt.ViTImageProcessor(size=8).save_pretrained(directory)


def _use_processor(directory: Path, out: Path) -> None:
    processor = mt.ViTImageProcessor.from_pretrained(str(directory))
    processor.save_pretrained(out)
    processor(np.zeros((9, 7, 3), dtype=np.uint8), return_tensors="pt")


KINDS: dict[str, FileKind] = {
    **{
        f"config of {model_type}": FileKind(
            lambda directory, model_type=model_type: _whole_config(directory, model_type),  # type: ignore[misc]
            "config.json",
            _use_config,
        )
        for model_type in CONFIG_MAPPING
    },
    "generation config": FileKind(_language_model, "generation_config.json", _generate),
    "weights": FileKind(lambda d: _model("gpt2").save_pretrained(d), "model.safetensors", _use_weights),
    "index of shards": FileKind(_in_shards, "model.safetensors.index.json", _use_weights),
    "zipped pickle": FileKind(lambda d: _as_pickle(d, True), "pytorch_model.bin", _read_tensors),
    "old pickle": FileKind(lambda d: _as_pickle(d, False), "pytorch_model.bin", _read_tensors),
    "tokenizer.json of BERT": FileKind(_bert, "tokenizer.json", _use_tokenizer),
    "tokenizer_config.json of BERT": FileKind(_bert, "tokenizer_config.json", _use_tokenizer),
    "vocab.txt": FileKind(_bert_of_old, "vocab.txt", _use_tokenizer),
    "special_tokens_map.json": FileKind(_bert_of_old, "special_tokens_map.json", _use_tokenizer),
    "added_tokens.json": FileKind(_bert_of_old, "added_tokens.json", _use_tokenizer),
    "old tokenizer_config.json": FileKind(_bert_of_old, "tokenizer_config.json", _use_tokenizer),
    "tokenizer.json of GPT-2": FileKind(_bpe, "tokenizer.json", _use_tokenizer),
    "tokenizer_config.json of GPT-2": FileKind(_bpe, "tokenizer_config.json", _use_tokenizer),
    "vocab.json": FileKind(_bpe_of_old, "vocab.json", _use_tokenizer),
    "merges.txt": FileKind(_bpe_of_old, "merges.txt", _use_tokenizer),
    "tokenizer.json of T5": FileKind(_unigram, "tokenizer.json", _use_tokenizer),
    "tokenizer_config.json of T5": FileKind(_unigram, "tokenizer_config.json", _use_tokenizer),
    "spiece.model": FileKind(_sentencepiece, "spiece.model", _use_tokenizer),
    "tokenizer.json of any class": FileKind(_any_pipeline, "tokenizer.json", _use_tokenizer),
    "chat template": FileKind(_template, "chat_template.jinja", _render),
    "adapter_config.json": FileKind(_adapted, "adapter_config.json", _use_adapter),
    "adapter_model.safetensors": FileKind(_adapted, "adapter_model.safetensors", _use_adapter),
    "corpus.json": FileKind(_corpus, "corpus.json", _use_corpus),
    "token shard": FileKind(_corpus, "first.tokens", _use_corpus),
    "token shard without checks": FileKind(_corpus, "first.tokens", lambda d, out: _use_corpus(d, out, False)),
    "preprocessor_config.json": FileKind(_processor, "preprocessor_config.json", _use_processor),
    **{name: FileKind(*parts) for name, parts in TRAINING.items()},
}
