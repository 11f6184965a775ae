"""A Vision Transformer trained from scratch: images as sequences of patches, and what it looks at.

    python examples/05_vit.py

What it does and prints:
  1. takes Fashion-MNIST (60,000 grey images of clothes, 28 × 28, ten kinds) where the Debian package
     dataset-fashion-mnist has put it, else scikit-learn's handwritten digits (1,797 images of 8 × 8);
  2. trains a ViT of 4 layers of 64 (0.14 million parameters) on patches of 4 × 4 (digits: 2 × 2) pixels. The training
     loop stands below in the open;
  3. counts right answers on images that it has not seen, and saves model and image processor to out/vit, from where
     the Auto classes load them again;
  4. draws for eight unseen images how much each patch counts for the answer, by attention rollout (Abnar & Zuidema,
     2020): out/vit_attention.png. The class token looks at patches, which have looked at patches in the layer below …

What to expect: 85 % of the unseen clothes and 99 % of the unseen digits. Trousers, bags and shoes are easy; of shirts
only every second is called a shirt, others t-shirts, pullovers or coats. 1,400 steps see each picture of clothes once
or twice, and the loss is still falling then: more steps give more. In the picture, patches on the clothes or the
stroke are redder than most empty ones. (Figures of one run. Other processors round differently, and end near it.)

The clothes take 90 seconds of one core's time, the digits 25; with 2 cores free it is less.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from minitransformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

FASHION = Path("/usr/share/datasets/fashion-mnist")
CLOTHES = ["t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]


class Data(NamedTuple):
    """Images (number, height, width) of 8 bits with their classes, some to learn from and some kept apart."""

    images: np.ndarray
    classes: Tensor
    unseen_images: np.ndarray
    unseen_classes: Tensor
    names: list[str]
    patch_size: int


def main() -> None:
    options = parse()
    torch.manual_seed(0)
    out = Path(options.out)
    data = load_data(options.digits)
    side = data.images.shape[1]
    print(f"{len(data.images):,} images of {side} × {side} to learn from, {len(data.unseen_images):,} kept apart.")

    config = ViTConfig(
        image_size=side,
        patch_size=data.patch_size,
        num_channels=1,
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=128,
        initializer_range=0.06,  # 0.02 is for layers ten times as wide
        id2label=dict(enumerate(data.names)),
    )
    model = ViTForImageClassification(config)
    processor = ViTImageProcessor(size=side, image_mean=0.5, image_std=0.5)
    patches = config.grid[0] * config.grid[1]
    print(f"A ViT of {model.num_parameters():,} parameters, that sees each as {patches} patches and a class token.\n")
    steps = 20 if options.quick else 1000 if side < 28 else 1400
    train(model, to_pixels(data.images), data.classes, steps)
    model.save_pretrained(out / "vit")
    processor.save_pretrained(out / "vit")

    model = AutoModelForImageClassification.from_pretrained(out / "vit")
    processor = AutoImageProcessor.from_pretrained(out / "vit")
    predicted = predict(model, to_pixels(data.unseen_images))
    right = predicted == data.unseen_classes
    print(f"\nRight on unseen images: {right.float().mean():.1%}")
    for index, name in enumerate(data.names):
        of_class = data.unseen_classes == index
        others = predicted[of_class & ~right]
        most = f", most often taken for {data.names[int(others.mode().values)]}" if len(others) else ""
        print(f"  {name:<11}{right[of_class].float().mean():6.1%}{most}")

    sample = [int((data.unseen_classes == index).nonzero()[0]) for index in range(8)]  # the first of each kind
    pixels = processor(list(data.unseen_images[sample]), return_tensors="pt").pixel_values
    with torch.no_grad():
        output = model(pixels, output_attentions=True)
    maps = rollout(output.attentions).unflatten(1, config.grid)
    answers = [model.config.id2label[int(answer)] for answer in output.logits.argmax(dim=-1)]
    path = draw(data.unseen_images[sample], maps, answers, out / "vit_attention.png")
    print(f"\nWhat it looks at: {path}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 steps only, to see that everything runs")
    parser.add_argument("--digits", action="store_true", help="the digits, also where Fashion-MNIST is there")
    parser.add_argument("--out", default="out", help="where model and picture are written (out)")
    return parser.parse_args()


# ---- data ------------------------------------------------------------------------------------------------------------


def load_data(digits: bool) -> Data:
    if FASHION.is_dir() and not digits:
        images, unseen_images = (read_idx(f"{part}-images-idx3-ubyte.gz") for part in ("train", "t10k"))
        classes, unseen_classes = (read_idx(f"{part}-labels-idx1-ubyte.gz") for part in ("train", "t10k"))
        return Data(images, as_classes(classes), unseen_images, as_classes(unseen_classes), CLOTHES, 4)
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit("Install scikit-learn for its digits, or dataset-fashion-mnist.") from None
    found = load_digits()
    images = (found.images * (255 / 16)).astype(np.uint8)  # 17 levels of grey
    order = np.random.default_rng(0).permutation(len(images))
    seen, unseen = order[:-400], order[-400:]
    names = [str(digit) for digit in range(10)]
    classes = as_classes(found.target)
    return Data(images[seen], classes[seen], images[unseen], classes[unseen], names, 2)


def read_idx(name: str) -> np.ndarray:
    """An array in the format of MNIST: its number of dimensions, their lengths, and the bytes."""
    content = gzip.decompress((FASHION / name).read_bytes())
    lengths = np.frombuffer(content, ">u4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(lengths).copy()


def as_classes(numbers: np.ndarray) -> Tensor:
    return torch.from_numpy(numbers.astype(np.int64))


def to_pixels(images: np.ndarray) -> Tensor:
    """What the image processor gives for images of the right size, for all of them at once."""
    return (torch.from_numpy(images)[:, None].float() / 255 - 0.5) / 0.5


# ---- training --------------------------------------------------------------------------------------------------------


def train(model: ViTForImageClassification, pixels: Tensor, classes: Tensor, steps: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps, pct_start=0.1)
    start, losses = time.perf_counter(), []
    model.train()
    for step in range(1, steps + 1):
        rows = torch.randint(len(pixels), (64,))
        loss = model(pixels[rows], labels=classes[rows]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % (steps // 10) == 0:
            mean = sum(losses[-steps // 10 :]) / (steps // 10)
            print(f"step {step:>5} of {steps}   loss {mean:.3f}   {time.perf_counter() - start:5.1f} s", flush=True)


@torch.no_grad()
def predict(model: ViTForImageClassification, pixels: Tensor) -> Tensor:
    return torch.cat([model(batch).logits.argmax(dim=-1) for batch in pixels.split(500)])


# ---- what it looks at ------------------------------------------------------------------------------------------------


def rollout(attentions: tuple[Tensor, ...]) -> Tensor:
    """How much of each patch reaches the class token, (images, patches): each layer passes on half of what it had, and
    half of what it attends to (Abnar & Zuidema, 2020, §3)."""
    reached = torch.eye(attentions[0].shape[-1])
    for attention in attentions:
        reached = (0.5 * attention.mean(dim=1) + 0.5 * torch.eye(attention.shape[-1])) @ reached
    return reached[:, 0, 1:]  # of the class token, to all others


def draw(images: np.ndarray, maps: Tensor, answers: list[str], path: Path) -> Path:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(images), figsize=(1.5 * len(images), 3.4), layout="constrained")
    for column, (image, seen, answer) in enumerate(zip(images, maps, answers, strict=True)):
        extent = (0, image.shape[1], image.shape[0], 0)
        above, below = axes[:, column]
        above.imshow(image, cmap="gray_r", extent=extent)
        above.set_title(answer, fontsize=10)
        below.imshow(image, cmap="gray_r", extent=extent)
        below.imshow(seen, cmap="Reds", alpha=0.6, extent=extent)
        for axis in (above, below):
            axis.set_axis_off()
    figure.suptitle("Above: image and answer. Below: what reaches the class token, red = much.", fontsize=10)
    figure.savefig(path, dpi=120)
    return path


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nStopped. The next start begins again.")
        sys.exit(130)
