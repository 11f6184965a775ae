"""Linear probes: what can be read off a layer by a linear classifier (Alain & Bengio, 2016, §3; Tenney et al., 2019).

A probe that succeeds shows that the information is there, not that the model uses it. Compare it with the frequency of
the commonest class and with the same probe on shuffled labels, a control in the spirit of Hewitt & Liang (2019, §2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.errors import InputError


@dataclass(frozen=True)
class Probe:
    """A linear classifier of a layer's vectors, and how well it does on those that it was not fitted to.

    Attributes:
        classifier: of standardized vectors: (x − mean) / deviation.
        mean, deviation: of the vectors that it was fitted to.
        accuracy: on held-out vectors.
        majority: the accuracy of always answering the commonest class of those that it was fitted to.
        control: the accuracy on shuffled labels after fitting those. Far above `majority`, it means that the probe
            memorizes items.
    """

    classifier: nn.Linear
    mean: Tensor
    deviation: Tensor
    accuracy: float
    majority: float
    control: float

    def __call__(self, vectors: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch classes"]:
        """The scores of the classes."""
        return self.classifier((vectors - self.mean) / self.deviation)  # type: ignore[no-any-return]


def probe_layers(
    layers: Sequence[Float[Tensor, "items hidden"]],
    labels: Int[Tensor, " items"],
    *,
    train_share: float = 0.8,
    penalty: float = 1e-3,
    seed: int = 0,
) -> list[Probe]:
    """Fit a logistic regression to each layer's vectors.

    Args:
        layers: the vectors of the items in each layer: `[x[mask] for x in activations.residual()]`.
        labels: the class of each item, from 0.
        train_share: the share of items that the probes are fitted to; the others judge them.
        penalty: of the squared weights, relative to the mean loss.
        seed: of the division, the same for all layers, and of the shuffled labels.

    Raises:
        InputError: layers and labels of different lengths, fewer than two classes, or no items to judge by.
    """
    if not layers or any(len(each) != len(labels) for each in layers):
        raise InputError(f"There are {len(labels)} labels, and layers of {[len(each) for each in layers]} items.")
    if len(set(labels.tolist())) < 2:
        raise InputError("labels has fewer than two classes: there is nothing to probe for.")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    cut = round(train_share * len(labels))
    if not 0 < cut < len(labels):
        raise InputError(
            f"train_share={train_share} of {len(labels)} items leaves none to fit to, or none to judge by."
        )
    train, test = order[:cut], order[cut:]
    shuffled = labels[torch.randperm(len(labels), generator=generator)]
    classes = int(labels.max()) + 1
    majority = float((labels[test] == labels[train].mode().values).float().mean())
    probes = []
    for layer in layers:
        vectors = layer.detach().float()
        mean, deviation = vectors[train].mean(0), vectors[train].std(0) + 1e-6
        scaled = (vectors - mean) / deviation
        classifier, accuracy = _fit(scaled, labels, train, test, classes, penalty)
        _, control = _fit(scaled, shuffled, train, test, classes, penalty)
        probes.append(Probe(classifier, mean, deviation, accuracy, majority, control))
    return probes


@torch.enable_grad()
def _fit(
    vectors: Tensor, labels: Tensor, train: Tensor, test: Tensor, classes: int, penalty: float
) -> tuple[nn.Linear, float]:
    """Logistic regression by L-BFGS from zeros, where the problem is convex, and its accuracy."""
    classifier = nn.Linear(vectors.shape[1], classes).to(vectors)
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    optimizer = torch.optim.LBFGS(classifier.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(classifier(vectors[train]), labels[train])
        value = value + penalty * classifier.weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    classifier.requires_grad_(False)
    return classifier, float((classifier(vectors[test]).argmax(-1) == labels[test]).float().mean())
