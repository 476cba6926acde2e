"""The conditions of the data as one vector, which a prior and a decoder can be given."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.encoder import Encoder
from corekit.interfaces.records import Condition
from corekit.interfaces.shapes import check_shape
from corekit.nn.one_hot import one_hot
from corekit.spec.given import chosen_of, embedded_of, width_of


class Given(nn.Module):
    r"""e(c): a one-hot class, an embedded picture and a vector, side by side.

    .. math:: e(c) = (\text{onehot}(k),\; g(\text{image}),\; \text{vector})

    Of these, what the data have and someone asks for. All zeros stand for no condition at all; the
    null label -1 is all zeros, too.

    Args:
        shapes: Of the conditions that the data come with, by name.
        classes: Number of classes, where labels are to be told.
        embed: Factory of g, an encoder of the image, or of the vector where there is no image: the
            mode of its posterior.
        drop: Share of rows that training shows without any condition.

    Shape: ``(B, E)``, E being ``width``.

    Raises:
        ShapeError: If the data have nothing of this, or not what is asked for.
    """

    anchor: Tensor

    def __init__(
        self,
        shapes: Mapping[str, Shape],
        *,
        classes: int | None = None,
        embed: Callable[..., Encoder] | None = None,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.shapes, self.classes, self.drop = chosen_of(shapes, classes, embed), classes, drop
        self.embedded, embedded = embedded_of(self.shapes), None
        self.embed: Encoder | None = None
        if embed is not None:
            self.embed = embed(event_shape=self.shapes[self.embedded])
            embedded = self.embed.latent_shape
        self.width = width_of(self.shapes, classes, embedded)
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # carries dtype, device

    def lost(self, condition: Condition | None, draws: Draws) -> Tensor | None:
        """Which rows training shows without their condition, bool ``(B,)``; None outside it."""
        if not self.drop or not self.training or condition is None:
            return None
        rows = next(len(value) for value in condition if value is not None)
        return draws.uniform("kept", (rows,), self.anchor) < self.drop

    def forward(
        self,
        condition: Condition | None,
        draws: Draws | None = None,
        *,
        lost: Tensor | None = None,
    ) -> Tensor:
        """The vector of each row.

        Rows that are ``lost`` have zeros; in training, where draws are given instead, some are.
        """
        given = {name: self._of(condition, name) for name in self.shapes}
        parts = []
        if "labels" in given:
            each = one_hot("LatentModel", given.pop("labels"), self.classes or 0)
            parts.append(each.to(self.anchor.dtype))
        if self.embed is not None:
            parts.append(self.embed(given.pop(self.embedded)).mode)
        found = torch.cat([part.flatten(1) for part in (*parts, *given.values())], dim=1)
        if lost is None and draws is not None:
            lost = self.lost(condition, draws)
        return found if lost is None else found * (~lost)[:, None].to(found.dtype)

    def _of(self, condition: Condition | None, name: str) -> Tensor:
        value = getattr(condition, name, None)
        if value is None:
            raise UsageError(
                f"LatentModel: needs the condition '{name}' of shape "
                f"(batch, *{self.shapes[name]}), got none."
            )
        check_shape("LatentModel", f"condition.{name}", value, self.shapes[name])
        return value
