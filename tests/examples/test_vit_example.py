"""The ViT example as a newcomer runs it, with a few steps only: on the digits, and on images in MNIST's format."""

from __future__ import annotations

import gzip
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

import minitransformers as mt

SCRIPT = Path(__file__).parents[2] / "examples" / "05_vit.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vit_example", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_runs_on_the_digits(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--digits"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(SCRIPT.parents[1])},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert "1,397 images of 8 × 8 to learn from, 400 kept apart." in done.stdout
    assert "16 patches and a class token" in done.stdout
    assert "step    20 of 20" in done.stdout
    assert "Right on unseen images: " in done.stdout
    picture = Image.open(tmp_path / "out" / "vit_attention.png").convert("L")
    assert np.asarray(picture).std() > 20  # it shows something
    assert mt.AutoModelForImageClassification.from_pretrained(tmp_path / "out" / "vit").config.num_labels == 10


def test_it_reads_clothes(example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    classes = np.array([3, 1, 4, 1, 5], np.uint8)
    for part in ("train", "t10k"):
        for name, array in ((f"{part}-images-idx3-ubyte.gz", images), (f"{part}-labels-idx1-ubyte.gz", classes)):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
            (tmp_path / name).write_bytes(gzip.compress(head + array.tobytes()))
    monkeypatch.setattr(example, "FASHION", tmp_path)
    data = example.load_data(digits=False)
    assert np.array_equal(data.images, images)
    assert data.unseen_classes.tolist() == classes.tolist()
    assert data.names[data.classes[0]] == "dress"


def test_pixels_are_the_image_processors(example: ModuleType) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    processor = mt.ViTImageProcessor(size=8, image_mean=0.5, image_std=0.5)
    processed = processor(list(images), return_tensors="pt").pixel_values
    torch.testing.assert_close(example.to_pixels(images), processed)


def test_rollout_shares_out_all_of_the_attention(example: ModuleType) -> None:
    """Each token's shares add up to 1; where the class token sees itself only, no patch reaches it."""
    attentions = tuple(torch.rand(2, 3, 5, 5).softmax(dim=-1) for _ in range(3))
    patches = example.rollout(attentions)
    assert patches.shape == (2, 4)
    assert (patches > 0).all()
    assert (patches.sum(dim=1) < 1).all()
    blind = torch.eye(5).expand(2, 3, 5, 5)
    assert not example.rollout((blind, blind)).any()
