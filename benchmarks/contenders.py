"""The same model in every library: built once with random weights, which take the same time as trained ones.

Each function returns what a row of the benchmark calls.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

import minitransformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

OURS, PLAIN, INT8 = "optimized", "plain", "optimized int8"
REFERENCE, EAGER, COMPILED = "transformers", "transformers eager", "transformers compiled"
ONNX, CT2, CT2_INT8 = "ONNX Runtime", "CTranslate2", "CTranslate2 int8"
END = 50256


def pair(kind: str, config: str, sizes: dict[str, Any]) -> tuple[Any, Any]:
    """The same model with the same weights, here and in transformers (sdpa), both loaded from one file."""
    torch.manual_seed(0)
    theirs = getattr(transformers, kind)(getattr(transformers, config)(**sizes))
    with tempfile.TemporaryDirectory() as directory:
        theirs.save_pretrained(directory)
        ours = getattr(minitransformers, kind).from_pretrained(directory)
        theirs = getattr(transformers, kind).from_pretrained(directory, attn_implementation="sdpa")
        # Weights of their own, not those of a file that is gone, so that no call reads from a disk
        for model in (ours, theirs):
            model.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()}, assign=True)
            model.tie_weights()
    return ours.eval(), theirs.eval()


def models(kind: str, config: str, sizes: dict[str, Any], also: set[str]) -> dict[str, Any]:
    """The PyTorch models by contender: plain, optimized and in 8 bits here, and transformers' kinds."""
    ours, theirs = pair(kind, config, sizes)
    found = {
        REFERENCE: theirs,
        PLAIN: ours,
        OURS: copy.deepcopy(ours).optimize(),
        INT8: copy.deepcopy(ours).optimize(weights="int8"),
    }
    if "eager" in also:
        found[EAGER] = copy.deepcopy(theirs)
        found[EAGER].set_attn_implementation("eager")
    if "compiled" in also:
        found[COMPILED] = torch.compile(copy.deepcopy(theirs))
    return found


def onnx_encoder(model: Any, threads: int) -> Callable[[dict[str, Tensor]], Tensor] | None:
    """A BERT of transformers in ONNX Runtime; None where it is not installed, or the model cannot be exported."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError:
        return None

    class LastHiddenState(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    path = str(Path(tempfile.mkdtemp()) / "model.onnx")
    ids = torch.randint(1000, 30000, (2, 8))
    axes = {name: {0: "batch", 1: "length"} for name in ("input_ids", "attention_mask", "output")}
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    try:
        torch.onnx.export(
            LastHiddenState(),
            (ids, mask),
            path,
            input_names=["input_ids", "attention_mask"],
            output_names=["output"],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
    except Exception as error:  # the benchmark goes on without this contender
        print(f"ONNX Runtime is left out: {type(error).__name__}: {str(error)[:200]}")
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda batch: torch.from_numpy(session.run(None, {name: t.numpy() for name, t in batch.items()})[0])


def ctranslate2_gpt2(model: Any, compute_type: str, threads: int) -> Callable[..., Tensor] | None:
    """A GPT-2 of transformers in CTranslate2; None where it is not installed."""
    try:
        import ctranslate2
        from ctranslate2.converters.transformers import GPT2Loader
    except ImportError:
        return None
    spec = GPT2Loader().get_model_spec(copy.deepcopy(model))  # it changes what it reads
    spec.register_vocabulary([str(token) for token in range(model.config.vocab_size)])
    for name in ("bos_token", "eos_token", "unk_token"):
        setattr(spec.config, name, str(END))
    spec.validate()
    spec.optimize(quantization=compute_type)
    directory = tempfile.mkdtemp()
    spec.save(directory)
    generator = ctranslate2.Generator(
        directory, compute_type=compute_type, inter_threads=1, intra_threads=threads, device="cpu"
    )

    def run(ids: Tensor, new: int, beams: int = 1, **sampling: Any) -> Tensor:
        prompts = [[str(token) for token in row] for row in ids.tolist()]
        results = generator.generate_batch(
            prompts, max_length=new, min_length=new, beam_size=beams, include_prompt_in_result=False, **sampling
        )
        return torch.cat([ids, torch.tensor([result.sequences_ids[0] for result in results])], dim=1)

    return run
