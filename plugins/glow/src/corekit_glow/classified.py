"""A flow that also tells labels from its deepest latent."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from corekit.data_spec import DataSpec
from corekit.errors import UsageError
from corekit.flows.compose import Factory
from corekit.flows.model import FlowModel
from corekit.flows.multiscale import level_shapes, levels
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.density import Density
from corekit.interfaces.draws import Randomness, as_draws
from corekit.interfaces.network import Network
from corekit.interfaces.records import Batch, Condition, LossTerms
from corekit.interfaces.stochastic import Stochastic
from corekit_glow.head import ClassHead
from corekit_glow.top import top_of


class ClassifiedFlow(FlowModel):
    r"""A flow and a class head (`ClassHead`) on its deepest latent, trained together.

    .. math:: loss = -\log p(x \mid y) + \lambda D\, (-\log p(y \mid \bar h(x)))

    in nats, D the numbers of x. Divided by D log 2 it is the loss of Glow's authors: bits per
    dimension, and lambda times the cross-entropy in bits. With lambda = 1 / D it is minus the sum
    of both log-likelihoods.

    h is the deepest latent as it comes, before the mean and deviation of y are taken out of it
    (`TopPrior`): that would hand y to the head. So nothing before may see y either.

    The labels are the ``labels`` of the condition, one class of each row, or, without ``classes``,
    its ``vector``: several labels, each 0 or 1.

    Args:
        data: What it is a model of; with labels.
        bijector: Factory of the map from data to latent.
        base: Factory of the base density, standard normal unless given.
        dequantize, surjection: Of `FlowModel`.
        classes: Number of classes; None for several labels.
        conditional: Whether the flow is conditioned on the labels; else p(x), and it can be sampled
            and scored without them.
        weight: lambda.

    Shape: batch.x ``(B, *data.event_shape)``; loss and log_prob ``(B,)``, nats.

    Raises:
        UsageError: If the data have no such labels, or if anything but the deepest level's mean and
            deviation sees them.

    Source: Kingma and Dhariwal, Glow, NeurIPS 2018, their code: ``--ycond --weight_y=0.01``;
        Nalisnick et al., Hybrid Models with Deep and Invertible Features, ICML 2019,
        https://arxiv.org/abs/1902.02767.
    """

    entry_points = (*FlowModel.entry_points, "predict")

    def __init__(
        self,
        data: DataSpec,
        *,
        bijector: "Factory | Bijector",
        base: Callable[..., Density] | None = None,
        dequantize: Callable[..., Stochastic] | None = None,
        surjection: Callable[..., Stochastic] | None = None,
        classes: int | None = None,
        conditional: bool = True,
        weight: float = 0.01,
    ) -> None:
        shapes, name = data.condition_shapes, "vector" if classes is None else "labels"
        if name not in shapes or weight < 0 or (classes is not None and classes < 1):
            raise UsageError(
                f"ClassifiedFlow: data must have the condition '{name}', weight be at least 0 and "
                f"classes at least 1, got the conditions {', '.join(shapes) or 'none'}, {weight} "
                f"and {classes}. Let the data hand on labels; leave out classes if they are a "
                "vector of 0 and 1."
            )
        seen = {key: shape for key, shape in shapes.items() if conditional or key != name}
        super().__init__(
            replace(data, condition_shapes=seen),
            bijector=bijector,
            base=base,
            dequantize=dequantize,
            surjection=surjection,
            classes=classes if conditional else None,
        )
        self.data, self.weight, self.conditional = data, weight, conditional
        several = classes is None
        labels = math.prod(shapes["vector"]) if classes is None else classes
        channels = level_shapes(self.density.bijector)[-1][0]
        self.head = ClassHead(channels, labels, several=several)
        if conditional:
            self._check_what_sees_labels()

    def forward(self, batch: Batch, *, phase: str = "main", draws: Randomness = None) -> LossTerms:
        """-log p of the data and of their labels; the share of labels that are told right."""
        source, labels = as_draws(draws), self._labels(batch.condition)
        u, value = self._lifted(batch.x, batch.condition, source)
        z, terms = self.density.scored(u, batch.condition, source)
        terms = self._of_data(terms, value, batch.x)
        logits = self.head(self._raw(z, batch.condition))
        class_nll = self.head.loss(logits, labels)
        total = terms.total + self.weight * math.prod(self.data.event_shape) * class_nll
        accuracy = self.head.accuracy(logits.detach(), labels)
        return terms._replace(
            total=total,
            terms={**terms.terms, "class_nll": class_nll, "accuracy": accuracy},
            units={**terms.units, "class_nll": "nats", "accuracy": "share of labels"},
        )

    @torch.no_grad()
    def predict(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """Probabilities of the classes, or of each label, ``(B, K)``.

        Args:
            x: Data; what is drawn in front of the bijector is drawn without noise.
            condition: What the flow needs beside labels; labels in it are not looked at.
        """
        condition = self._without_labels(x, condition)
        logits = self.head(self._raw(self.encode(x, condition), condition))
        return self.head.probabilities(logits)

    def _labels(self, condition: Condition | None) -> Tensor:
        name = "vector" if self.head.several else "labels"
        found: Tensor | None = getattr(condition, name, None)
        if found is None:
            raise UsageError(f"ClassifiedFlow: its loss needs the condition '{name}', got none.")
        return found

    def _without_labels(self, x: Tensor, condition: Condition | None) -> Condition | None:
        """The condition with nothing in place of labels; h does not depend on them."""
        if not self.conditional:
            return condition
        if self.head.several:
            zeros = x.new_zeros(len(x), *self.data.condition_shapes["vector"])
            return (condition or Condition())._replace(vector=zeros)
        none = torch.full((len(x),), -1, dtype=torch.int64, device=x.device)
        return (condition or Condition())._replace(labels=none)

    def _raw(self, z: Tensor, condition: Condition | None) -> Tensor:
        """h of z: the deepest level before its mean and deviation are taken out."""
        bijector = self.density.bijector
        deepest, top = levels(bijector, z)[-1], top_of(bijector)
        if top is None:
            return deepest
        context = None if top.context_shape is None else self.density._context(condition)
        return top.inverse(deepest, context)[0]

    def _check_what_sees_labels(self) -> None:
        """Whatever takes the context, but the last layer and what it is a part of."""
        bijector = self.density.bijector
        top = top_of(bijector)
        parts = {f"bijector.{name}": part for name, part in bijector.named_modules()}
        if self.head.several:  # a class reaches the bijector alone
            parts |= {type(part).__name__: part for part in self._front}
        for name, part in parts.items():
            takes = isinstance(part, Bijector | Network | Stochastic) and part.context_shape
            if takes and not any(inner is top for inner in part.modules() if top is not None):
                raise UsageError(
                    "ClassifiedFlow: labels must reach the mean and deviation of the deepest level "
                    f"and nothing before, got {name} ({type(part).__name__}), which sees them: the "
                    "head would tell what it was told. Set conditional to false, or, of glow.glow, "
                    "context_to to top."
                )
