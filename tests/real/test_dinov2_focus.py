"""A real DINOv2, with the decoder that it was tuned with: the numbers of the graph that it comes as, and transformers'.

The file is an ONNX graph. Its weights have transformers' names, but for matrices that its exporter has transposed and
named by their place in the graph, and for the positions.
"""

from __future__ import annotations

import functools
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
import transformers
from onnx import numpy_helper
from sklearn.datasets import load_sample_image
from torch import Tensor
from torch.nn import functional as F

import minitransformers as mt
from minitransformers.assets import fetch

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

SMALL = {"hidden_size": 384, "num_attention_heads": 6, "image_size": 518, "use_mask_token": False}
PROCESSOR = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3}
FEATURES = "/backbone/layernorm/Add_1_output_0"


@functools.cache
def graph() -> onnx.ModelProto:
    """The graph, which gives the backbone's last hidden state besides."""
    model = onnx.load(fetch("dinov2-focus") / "vit_s_focus.onnx")
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(FEATURES))
    return model


@functools.cache
def weights() -> dict[str, Tensor]:
    """All weights: `backbone.…` with transformers' names, and `decoder.…`."""
    stored = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph().graph.initializer}
    found = {name: tensor for name, tensor in stored.items() if name.startswith(("backbone.", "decoder."))}
    nodes = {node.name: node for node in graph().graph.node}
    for name, node in nodes.items():
        if node.op_type == "MatMul" and node.input[1] in stored:
            layer = name.removeprefix("/").removesuffix("/MatMul").replace("/", ".")
            found[f"{layer}.weight"] = stored[node.input[1]].T.contiguous()
    of_class = stored[nodes["/backbone/embeddings/Concat_6"].input[0]]
    of_patches = stored[nodes["/backbone/embeddings/Reshape_1"].input[0]]
    found["backbone.embeddings.position_embeddings"] = torch.cat([of_class, of_patches], dim=1)
    return found


@functools.cache
def photographs() -> Tensor:
    """A temple and a flower."""
    processor = mt.ViTImageProcessor(size=224, **PROCESSOR)
    images = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    pixels: Tensor = processor(images, return_tensors="pt").pixel_values
    return pixels


@functools.cache
def answers() -> tuple[Tensor, Tensor]:
    """What the graph itself gives for the photographs: where people look, and the last hidden state."""
    session = onnxruntime.InferenceSession(graph().SerializeToString(), providers=["CPUExecutionProvider"])
    focus, features = session.run(["output_importance", FEATURES], {"input_image": photographs().numpy()})
    return torch.from_numpy(focus), torch.from_numpy(features)


def backbone(library: Any) -> Any:
    of_backbone = {
        name.removeprefix("backbone."): tensor for name, tensor in weights().items() if name.startswith("backbone.")
    }
    model = library.Dinov2Model(library.Dinov2Config(**SMALL)).eval()
    if library is mt:
        report = model.load_hf_state_dict(of_backbone)
        assert not report.missing_keys
        assert not report.unexpected_keys
        return model
    ours = backbone(mt).hf_state_dict()
    model.load_state_dict(ours)  # strict: names and shapes are the reference's
    return model


@torch.no_grad()
@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_the_graphs_numbers(kernel: str) -> None:
    """Up to what float32 tells apart after twelve layers, whose values reach 10 here."""
    model = backbone(mt)
    model.set_attn_implementation(kernel)
    got, (_, expected) = model(photographs()).last_hidden_state, answers()
    assert got.shape == expected.shape == (2, 1 + 16 * 16, 384)
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-4)


@torch.no_grad()
def test_transformers_numbers() -> None:
    ours, theirs = backbone(mt), backbone(transformers)
    theirs.set_attn_implementation("eager")
    arguments = {"output_attentions": True, "output_hidden_states": True}
    got, expected = ours(photographs(), **arguments), theirs(photographs(), **arguments)
    torch.testing.assert_close(got.pooler_output, expected.pooler_output, rtol=0, atol=2e-4)
    for name in ("hidden_states", "attentions"):
        for mine, reference in zip(got[name], expected[name], strict=True):
            torch.testing.assert_close(mine, reference, rtol=0, atol=2e-4)


@torch.no_grad()
def test_where_people_look() -> None:
    """With the decoder, written out here, it finds what the graph finds: in the flower's picture, its middle."""
    features = backbone(mt)(photographs()).last_hidden_state[:, 1:]
    x = features.transpose(1, 2).unflatten(2, (16, 16))
    of_decoder = {name.removeprefix("decoder."): tensor for name, tensor in weights().items()}
    for number in (1, 2, 3):
        kernel, bias = (of_decoder[f"upconv{number}.{kind}"] for kind in ("weight", "bias"))
        norm = [of_decoder[f"bn{number}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")]
        x = F.relu(F.batch_norm(F.conv_transpose2d(x, kernel, bias, stride=2, padding=1), *norm))
    x = F.conv2d(x, of_decoder["final_conv.weight"], of_decoder["final_conv.bias"])
    focus = F.interpolate(x, size=(224, 224), mode="bilinear").sigmoid()
    torch.testing.assert_close(focus, answers()[0], rtol=0, atol=1e-3)
    row, column = divmod(int(focus[1, 0].argmax()), 224)
    assert 80 <= row <= 140
    assert 90 <= column <= 150
