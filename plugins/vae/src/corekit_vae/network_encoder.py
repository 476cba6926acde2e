"""An encoder that is a network, and a posterior on top of it."""

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.interfaces.encoder import Encoder
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.posterior_head import PosteriorHead
from corekit.interfaces.records import Condition
from corekit.nn.one_hot import one_hot


class NetworkEncoder(Encoder):
    r"""q(z | x) = head(network(x)), or head(network(x, c)) of a conditional encoder.

    A subclass builds the network and calls `finish` with the shape of its features.

    Args:
        event_shape: Shape of x without the batch.
        latent_shape: Shape that is asked of z; the posterior may make another of it.
        posterior: Factory of the posterior, called with feature_shape and latent_shape.
        condition_width: Numbers of the condition that the network is told beside x: classes of a
            label (one-hot), or the length of a vector. 0: it is told nothing.

    Shape: x ``(B, *event_shape)``.
    """

    head: PosteriorHead

    def __init__(
        self,
        event_shape: Shape,
        latent_shape: Shape,
        posterior: Callable[..., PosteriorHead],
        *,
        condition_width: int = 0,
    ) -> None:
        super().__init__()
        if condition_width < 0:
            raise UsageError(
                f"{type(self).__name__}: condition_width must be at least 0, got {condition_width}."
            )
        self.event_shape, self.condition_width = tuple(event_shape), condition_width
        self._asked, self._posterior = tuple(latent_shape), posterior

    def finish(self, feature_shape: Shape) -> None:
        """Build the posterior on features of this shape."""
        self.head = self._posterior(feature_shape=feature_shape, latent_shape=self._asked)
        self.latent_shape, self.kind = self.head.latent_shape, self.head.kind
        self.latent_support = self.head.latent_support

    @abstractmethod
    def features(self, x: Tensor, told: Tensor | None) -> Tensor:
        """``(B, *feature_shape)``; ``told`` is ``(B, condition_width)`` or None."""

    def _forward(self, x: Tensor, condition: Condition | None) -> Posterior:
        posterior: Posterior = self.head(self.features(x, self._told(x, condition)))
        return posterior

    def _told(self, x: Tensor, condition: Condition | None) -> Tensor | None:
        """The condition as a vector; all zeros for the null label."""
        if not self.condition_width:
            return None
        if condition is not None and condition.labels is not None:
            told = one_hot(type(self).__name__, condition.labels, self.condition_width)
        else:
            told = Condition.vector_of(condition, type(self).__name__).flatten(1)
        if told.shape[1] != self.condition_width:
            raise UsageError(
                f"{type(self).__name__}: condition_width must be that of the condition, "
                f"{told.shape[1]}, got {self.condition_width}."
            )
        return told.to(x.dtype)


def linear_between(in_shape: Shape, out_shape: Shape) -> nn.Module:
    """A linear map between shapes: a 1x1 convolution between images of one size, else dense.

    Shape: ``(B, *in_shape)`` to ``(B, *out_shape)``.
    """
    if len(in_shape) == len(out_shape) == 3 and tuple(in_shape[1:]) == tuple(out_shape[1:]):
        return nn.Conv2d(in_shape[0], out_shape[0], 1)
    dense = nn.Linear(int(torch.Size(in_shape).numel()), int(torch.Size(out_shape).numel()))
    return nn.Sequential(nn.Flatten(), dense, nn.Unflatten(1, tuple(out_shape)))
