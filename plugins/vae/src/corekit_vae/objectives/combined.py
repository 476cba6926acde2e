"""Several objectives on one pass."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.names import MAIN
from corekit.interfaces.records import Batch, LossTerms
from corekit.latent.scoring import Scored
from corekit_vae.objectives.base import Objective, Term

if TYPE_CHECKING:
    from corekit.latent.model import LatentModel


class Combined(Objective):
    r"""The first objective, and what the others add to theirs.

    .. math:: L = L_1 + \sum_{k \ge 2} \sum_i w_{ki} T_{ki}

    Encoder, decoder and prior run once. What the KL costs is for the first to say; of the others
    the terms beside reconstruction and KL count, in phases of their own where they have some.

    Args:
        of: Objectives of this package, each of another class; all but the first add terms.

    Raises:
        UsageError: If there is none, one cannot be a member, or two are of one class.
    """

    def __init__(self, *, of: Sequence[Objective]) -> None:
        super().__init__()
        for number, member in enumerate(of):
            _check(number, member)
        names = [type(member).__name__ for member in of]
        if not of or len({*names}) < len(names):
            raise UsageError(
                "Combined: of must be objectives of different classes, at least one, got "
                f"{', '.join(names) or 'none'}. Their terms would have the same names."
            )
        self.of = nn.ModuleList(of)
        self.phases = (MAIN, *(p for member in of for p in member.phases if p != MAIN))
        self.kind = of[0].kind if len(of) == 1 else self.kind
        self.rows_coupled = any(member.rows_coupled for member in of)

    @property
    def members(self) -> list[Objective]:
        """The objectives, in their order."""
        return [member for member in self.of if isinstance(member, Objective)]

    def prepare(self, model: "LatentModel") -> None:  # type: ignore[override]
        """Prepare all."""
        for member in self.members:
            member.prepare(model)

    def phase_of(self, name: str) -> str:
        """What the member says of its parameter."""
        number, _, rest = name.removeprefix("of.").partition(".")
        return self.members[int(number)].phase_of(rest)

    def of_phase(self, phase: str, model: "LatentModel", batch: Batch, draws: Draws) -> LossTerms:  # type: ignore[override]
        """That of the member whose phase it is."""
        member = next(member for member in self.members if phase in member.phases)
        return member.of_phase(phase, model, batch, draws)

    def scored(self, model: "LatentModel", batch: Batch, draws: Draws) -> Scored:
        """As the first does it."""
        return self.members[0].scored(model, batch, draws)

    def divergence(self, scored: Scored, model: "LatentModel") -> Tensor | None:
        """What the KL costs the first."""
        return self.members[0].divergence(scored, model)

    def terms(
        self, scored: Scored, model: "LatentModel", batch: Batch, draws: Draws
    ) -> Mapping[str, Term]:
        """The terms of all."""
        found: dict[str, Term] = {}
        for member in self.members:
            found |= member.terms(scored, model, batch, draws)
        return found


def _check(number: int, member: object) -> None:
    """Refuse what adds nothing to the pass of others."""
    who = type(member).__name__
    if not isinstance(member, Objective):
        raise UsageError(
            f"Combined: of[{number}] must be an objective with one draw per row, got {who}. Use it "
            "alone."
        )
    if number and type(member).terms is Objective.terms:
        raise UsageError(
            f"Combined: of[{number}] must add a term, got {who}, which has none beside "
            "reconstruction and KL. Let it be the first."
        )
