"""The rows of the benchmark: each builds its contenders, and says how their results are compared."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import contenders as c
import torch
import transformers
from torch import Tensor

import minitransformers

BERT: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
GPT2: dict[str, Any] = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
T5: dict[str, Any] = {"decoder_start_token_id": 0, "dropout_rate": 0.0}
TINY: dict[str, dict[str, Any]] = {
    "bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
    "t5": {"d_model": 32, "d_kv": 16, "num_layers": 2, "num_heads": 2, "d_ff": 64},
}


@dataclass
class Row:
    """What one row measures.

    Attributes:
        calls: what each contender does.
        repetitions: of each call.
        flops: floating-point operations of a call, of those that no contender can leave out.
        bytes: that a call must read at least: the weights, once for each step.
        compare: how far two results are apart, and the unit of that number.
        in_process: whether the processor time of this process is that of the call.
    """

    calls: dict[str, Callable[[], Any]]
    repetitions: int
    flops: float = 0.0
    bytes: float = 0.0
    compare: Callable[[Any, Any], float] | None = None
    unit: str = "largest difference"
    in_process: bool = True
    differences: dict[str, float] = field(default_factory=dict)


@dataclass
class Options:
    """The command's options that rows read."""

    repetitions: int
    threads: int
    tiny: bool
    also: set[str]


def encoder(options: Options, lengths: list[int]) -> Row:
    sizes = {**BERT, **(TINY["bert"] if options.tiny else {})}
    found = c.models("BertModel", "BertConfig", sizes, options.also)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    batch = {"input_ids": torch.randint(1000, 30000, mask.shape) * mask, "attention_mask": mask}

    @torch.inference_mode()
    def run(model: Any) -> Tensor:
        return model(**batch).last_hidden_state[mask.bool()]

    calls: dict[str, Callable[[], Any]] = {name: lambda model=model: run(model) for name, model in found.items()}
    onnx = c.onnx_encoder(found[c.REFERENCE], options.threads)
    if onnx is not None:
        calls[c.ONNX] = lambda: onnx(batch)[mask.bool()]
    weights = sum(parameter.numel() for parameter in found[c.PLAIN].encoder.parameters())
    return Row(
        calls, options.repetitions, flops=2.0 * weights * sum(lengths), bytes=4.0 * weights, compare=largest_difference
    )


def generation(options: Options, batch: int, prompt: int, new: int, **strategy: Any) -> Row:
    found = c.models("GPT2LMHeadModel", "GPT2Config", {**GPT2, **(TINY["gpt2"] if options.tiny else {})}, options.also)
    ids = torch.randint(1000, 30000, (batch, prompt))
    fixed = {"attention_mask": torch.ones_like(ids), "eos_token_id": None, "pad_token_id": c.END}

    def run(model: Any) -> Tensor:
        torch.manual_seed(1)
        return model.generate(ids, max_new_tokens=new, **fixed, **strategy)

    calls: dict[str, Callable[[], Any]] = {name: lambda model=model: run(model) for name, model in found.items()}
    beams = strategy.get("num_beams", 1)
    sampling = {"sampling_topk": 0, "sampling_topp": strategy["top_p"]} if "top_p" in strategy else {}
    for name, kind in ((c.CT2, "float32"), (c.CT2_INT8, "int8")):
        peer = c.ctranslate2_gpt2(found[c.REFERENCE], kind, options.threads)
        if peer is not None:
            calls[name] = lambda peer=peer: peer(ids, new, beams, **sampling)
    weights = sum(parameter.numel() for parameter in found[c.PLAIN].parameters())
    rows = batch * beams
    return Row(
        calls,
        max(3, options.repetitions // 3),
        flops=2.0 * weights * (batch * prompt + rows * (new - 1)),
        bytes=4.0 * weights * new,
        compare=different_tokens,
        unit="share of other tokens",
    )


def prefill(options: Options) -> Row:
    found = c.models("GPT2LMHeadModel", "GPT2Config", {**GPT2, **(TINY["gpt2"] if options.tiny else {})}, options.also)
    ids = torch.randint(1000, 30000, (1, 512))

    @torch.inference_mode()
    def run(model: Any) -> Tensor:
        return model(ids, logits_to_keep=1).logits

    weights = sum(parameter.numel() for parameter in found[c.PLAIN].transformer.h.parameters())
    calls = {name: lambda model=model: run(model) for name, model in found.items()}
    return Row(calls, max(3, options.repetitions // 3), 2.0 * weights * 512, 4.0 * weights, largest_difference)


def translation(options: Options) -> Row:
    sizes = {**T5, **(TINY["t5"] if options.tiny else {})}
    found = c.models("T5ForConditionalGeneration", "T5Config", sizes, options.also)
    ids = torch.randint(100, 30000, (4, 24))

    def run(model: Any) -> Tensor:
        return model.generate(ids, max_new_tokens=24, min_new_tokens=24, num_beams=1)

    calls = {name: lambda model=model: run(model) for name, model in found.items()}
    return Row(calls, max(3, options.repetitions // 3), compare=different_tokens, unit="share of other tokens")


def many_prompts(options: Options) -> Row:
    found = c.models("GPT2LMHeadModel", "GPT2Config", {**GPT2, **(TINY["gpt2"] if options.tiny else {})}, set())
    draw = torch.Generator().manual_seed(0)
    count = 4 if options.tiny else 32
    lengths = torch.randint(8, 201, (count,), generator=draw).tolist()
    news = torch.randint(16, 129, (count,), generator=draw).tolist()
    prompts = [torch.randint(1000, 30000, (length,), generator=draw).tolist() for length in lengths]
    longest = max(lengths)
    ids = torch.tensor([[c.END] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])

    def padded(model: Any) -> list[list[int]]:
        found = model.generate(
            ids, attention_mask=mask, max_new_tokens=max(news), do_sample=False, eos_token_id=None, pad_token_id=c.END
        )
        return [row[longest : longest + new].tolist() for row, new in zip(found, news, strict=True)]

    def packed(model: Any) -> list[list[int]]:
        found = model.generate_batch(prompts, max_new_tokens=news, eos_token_id=None)
        return [output.generated_tokens for output in found.values()]

    def compare(a: list[list[int]], b: list[list[int]]) -> float:
        pairs = [x != y for one, other in zip(a, b, strict=True) for x, y in zip(one, other, strict=True)]
        return sum(pairs) / len(pairs)

    calls: dict[str, Callable[[], Any]] = {c.REFERENCE: lambda: padded(found[c.REFERENCE])}
    for name in (c.PLAIN, c.OURS, c.INT8):
        calls[name] = lambda model=found[name]: packed(model)
    weights = sum(parameter.numel() for parameter in found[c.PLAIN].parameters())
    return Row(
        calls,
        max(2, options.repetitions // 8),
        flops=2.0 * weights * (sum(lengths) + sum(news)),
        compare=compare,
        unit="share of other tokens",
    )


def training(options: Options, kind: str, batch: int, length: int) -> Row:
    if kind == "mlm":
        sizes = {**BERT, **(TINY["bert"] if options.tiny else {})}
        ours, theirs = c.pair("BertForMaskedLM", "BertConfig", sizes)
        real = torch.linspace(length // 8, length, batch).long()[:, None]
        mask = (torch.arange(length) < real).long()
        ids = torch.randint(1000, 30000, (batch, length)) * mask
        labels = ids.masked_fill((torch.rand(batch, length) > 0.15) | (mask == 0), -100)
        inputs = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    else:
        ours, theirs = c.pair("GPT2LMHeadModel", "GPT2Config", {**GPT2, **(TINY["gpt2"] if options.tiny else {})})
        ids = torch.randint(1000, 30000, (batch, length))
        inputs = {"input_ids": ids, "labels": ids}
    calls: dict[str, Callable[[], Any]] = {}
    for name, model in ((c.REFERENCE, theirs), (c.PLAIN, ours)):
        optimizer = torch.optim.AdamW(model.train().parameters(), lr=0.0)

        def step(model: Any = model, optimizer: Any = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = model(**inputs).loss
            loss.backward()
            optimizer.step()
            return loss.detach()[None]

        calls[name] = step
    weights = sum(parameter.numel() for parameter in ours.parameters())
    return Row(calls, max(2, options.repetitions // 5), 6.0 * weights * int(ids.ne(0).sum()), 0.0, largest_difference)


def loading(options: Options) -> Row:
    directory = Path(tempfile.mkdtemp())
    sizes = {**BERT, **(TINY["bert"] if options.tiny else {})}
    transformers.BertModel(transformers.BertConfig(**sizes)).save_pretrained(directory)
    ids = torch.randint(1000, 30000, (1, 16))

    @torch.inference_mode()
    def run(library: Any) -> Tensor:
        # A first pass reads every weight: a file that is only mapped is not loaded before that.
        return library.BertModel.from_pretrained(directory).eval()(ids).last_hidden_state

    calls = {c.REFERENCE: lambda: run(transformers), c.PLAIN: lambda: run(minitransformers)}
    return Row(calls, options.repetitions, compare=largest_difference)


def importing(options: Options) -> Row:
    def run(statement: str) -> None:
        subprocess.run([sys.executable, "-c", statement], check=True)

    calls = {
        "torch alone": lambda: run("import torch"),
        c.PLAIN: lambda: run("import torch; from minitransformers import BertModel"),
        c.REFERENCE: lambda: run("import torch; from transformers import BertModel"),
    }
    return Row(calls, max(3, options.repetitions // 3), in_process=False)


def mixed_lengths(options: Options) -> Row:
    return encoder(options, [int(9 + 109 * (index / 15) ** 2.35) for index in range(16)])  # 36 % of 16 × 118


ROWS: dict[str, Callable[[Options], Row]] = {
    "encoder 1×16": lambda options: encoder(options, [16]),
    "encoder 8×128": lambda options: encoder(options, [128] * 8),
    "encoder 16 texts of 9–118": mixed_lengths,
    "greedy 1×(16+32)": lambda options: generation(options, 1, 16, 32),
    "greedy 8×(16+32)": lambda options: generation(options, 8, 16, 32),
    "beam 5, 1×(16+32)": lambda options: generation(options, 1, 16, 32, num_beams=5),
    "top-p 1×(16+32)": lambda options: generation(options, 1, 16, 32, do_sample=True, top_p=0.9, top_k=0),
    "prefill 1×512": prefill,
    "T5-small 4×(24+24)": translation,
    "32 prompts": many_prompts,
    "MLM step 8×128": lambda options: training(options, "mlm", 8, 128),
    "CLM step 4×128": lambda options: training(options, "clm", 4, 128),
    "CLM step 1×1024": lambda options: training(options, "clm", 1, 1024),
    "load BERT-base": loading,
    "import": importing,
}


def largest_difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max())


def different_tokens(ours: Tensor, theirs: Tensor) -> float:
    return float((ours != theirs).float().mean())
