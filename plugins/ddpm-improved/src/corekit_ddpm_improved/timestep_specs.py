"""The specs of timestep samplers. No torch here."""

from typing import Literal

from pydantic import Field

from corekit.spec import Spec


class UniformSpec(Spec):
    """Every level equally often: `uniform` by the name of its package."""

    type: Literal["ddpm.uniform"] = "ddpm.uniform"


class LossSecondMomentSpec(Spec):
    """Steps of large losses more often, with weights that make up for it."""

    type: Literal["ddpm.loss_second_moment"] = "ddpm.loss_second_moment"
    steps: int | None = Field(None, ge=1, description="of the schedule; as many as it has if null")
    history: int = Field(10, ge=1, description="losses of each step that it remembers")
    uniform_share: float = Field(
        0.001, gt=0, le=1, description="share that is drawn uniformly; weights are below 1 / it"
    )


class AntitheticSpec(Spec):
    """The levels of a batch in equal distances, over all processes."""

    type: Literal["ddpm.antithetic"] = "ddpm.antithetic"


class LogNormalSpec(Spec):
    """A normal log(sigma / alpha): other weights of the levels, on purpose."""

    type: Literal["ddpm.log_normal"] = "ddpm.log_normal"
    mean: float = Field(-1.2, description="of log(sigma / alpha); 0 is usual for rectified flow")
    std: float = Field(1.2, gt=0, description="of log(sigma / alpha); 1 for rectified flow")
