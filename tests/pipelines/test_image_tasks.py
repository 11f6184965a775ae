"""Tasks of images, against the reference on the same weights and images."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_pipelines as tiny
import torch
import transformers
from PIL import Image

from minitransformers import InputError, pipeline

LABELS = {0: "cat", 1: "dog", 2: "fish"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("vit")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, image_size=16, patch_size=8,
        initializer_range=0.3, id2label=LABELS, label2id={name: number for number, name in LABELS.items()},
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.ViTForImageClassification(config).save_pretrained(path)
    transformers.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def images() -> list[Any]:
    """Of the size of the model: the two libraries' resizing may differ by a level (see ViTImageProcessor)."""
    draw = np.random.default_rng(0)
    return [Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(200)]


def test_classification(directory: str, images: list[Any]) -> None:
    ours, theirs = (each("image-classification", directory, device=-1) for each in (pipeline, transformers.pipeline))
    answers = ours(images, batch_size=50)
    tiny.assert_same(answers, theirs(images, batch_size=50))
    tiny.assert_same(list(ours(image for image in images[:4])), answers[:4])
    for options in ({"top_k": 1}, {"top_k": 9}, {"function_to_apply": "sigmoid"}, {"function_to_apply": "none"}):
        tiny.assert_same(ours(images[0], **options), theirs(images[0], **options))


def test_features(directory: str, images: list[Any]) -> None:
    name = "image-feature-extraction"
    ours, theirs = (each(name, directory, device=-1) for each in (pipeline, transformers.pipeline))
    tiny.assert_same(ours(images[:9], batch_size=4), theirs(images[:9]))
    with torch.no_grad():
        expected = ours.model(**ours.image_processor(images[0], return_tensors="pt")).pooler_output
    torch.testing.assert_close(ours(images[0], pool=True, return_tensors=True), expected)


def test_files_text_and_arrays_are_images(directory: str, images: list[Any], tmp_path: Path) -> None:
    ours = pipeline("image-classification", directory)
    expected = ours(images[0])
    path = tmp_path / "an image.png"
    images[0].save(path)
    for form in (str(path), path, base64.b64encode(path.read_bytes()).decode(), np.array(images[0])):
        tiny.assert_same(ours(form), expected)
    for wrong in ("no such.png", str(tmp_path), "aGVsbG8="):
        with pytest.raises(InputError, match="neither the path nor the address"):
            ours(wrong)
