"""The section `train` of a spec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.spec.base import Section
from corekit.spec.lr_schedules import ConstantSpec
from corekit.spec.optimizers import AdamSpec
from corekit.spec.rates import Rates
from corekit.spec.slots import CallbackSlot, LrScheduleSlot, OptimizerSlot


class GroupSpec(Section):
    """Parameters by pattern, with options in place of the optimizer's."""

    match: str = Field(description="pattern of names, like `encoder.*` or `*.bias`")
    lr: float | None = Field(None, gt=0, description="learning rate, before the schedule")
    weight_decay: float | None = Field(None, ge=0, description="weight decay")
    freeze: bool = Field(False, description="leave these parameters as they are")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.freeze and self.options():
            raise ValueError("a frozen group must have no options, got some. Leave them out.")
        if not self.freeze and not self.options():
            raise ValueError("a group must have lr, weight_decay or freeze: true, got none of them")
        return self

    def options(self) -> dict[str, float]:
        """What differs from the optimizer's options."""
        given = {"lr": self.lr, "weight_decay": self.weight_decay}
        return {name: value for name, value in given.items() if value is not None}


class PhaseSpec(Section):
    """A phase of a model that has several: what differs from the rest of ``train``."""

    optimizer: OptimizerSlot | None = Field(None, description="if null, that of `train`")
    lr_schedule: LrScheduleSlot | None = Field(None, description="if null, that of `train`")
    every: int = Field(1, ge=1, description="steps from one to the next")


class TrainSpec(Section):
    """How long, how fast and how carefully to train."""

    steps: int = Field(10_000, ge=1, description="number of optimizer steps")
    batch_size: int = Field(32, ge=1, description="examples per step, over all processes")
    optimizer: OptimizerSlot = Field(default_factory=AdamSpec, description="the optimizer")
    lr_schedule: LrScheduleSlot = Field(
        default_factory=ConstantSpec, description="the learning rate over time"
    )
    groups: list[GroupSpec] = Field(
        default_factory=list,
        description="parameters with options of their own: `match` (a pattern of names) and `lr`, "
        "`weight_decay` or `freeze`; the first that matches counts",
    )
    phases: dict[str, PhaseSpec] = Field(
        default_factory=dict,
        description="of a model with several phases: `optimizer`, `lr_schedule` and `every` of "
        "some, by name",
    )
    parts: list[str] = Field(
        default_factory=lambda: ["*"],
        min_length=1,
        description="patterns of names of the parameters that are trained, like `prior.*`; the "
        "others stay as they are, and what holds only such is in evaluation mode",
    )
    cache: bool = Field(
        False,
        description="compute once per example what the frozen parts give to those that are trained",
    )
    ema: Rates = Field(
        None,
        description="decay, between 0 and 1, of the averaged weights that samples are drawn from; "
        "or a list of several, each with an average, of which the first is used unless told",
    )
    grad_clip: float | None = Field(None, gt=0, description="largest norm of the gradient")
    guard: Literal["report", "skip"] = Field(
        "report",
        description="of a gradient that is not finite: stop when the log shows it, or skip the "
        "step (which waits for the device at each step)",
    )
    max_skips: int = Field(10, ge=0, description="steps in a row that may be skipped")
    accumulate: int = Field(1, ge=1, description="parts that a batch is split into, to save memory")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="of the arithmetic")
    sharding: Literal["none", "full"] = Field(
        "none",
        description="of several processes, whether each keeps all weights or a share of every one "
        "(full, FSDP2), which saves memory",
    )
    find_unused: bool = Field(
        False,
        description="of several processes, whether a step may leave parameters unused, which are "
        "then looked for at each step",
    )
    compile: bool = Field(False, description="whether torch.compile makes the model faster")
    activation_checkpointing: bool = Field(
        False,
        description="whether parts with depth compute their activations a second time instead of "
        "keeping them: less memory, about a third more time",
    )
    channels_last: bool = Field(
        False, description="whether images lie in memory pixel by pixel, which suits convolutions"
    )
    init_rows: int = Field(
        1024,
        ge=1,
        description="rows of the data from which layers start that start from data (the mean and "
        "deviation of their first input, say); all of them, if there are fewer",
    )
    seed: int = Field(0, ge=0, description="of all randomness")
    workers: int = Field(0, ge=0, description="processes that load data")
    log_every: int = Field(50, ge=1, description="steps between two lines of the log")
    checkpoint_every: int = Field(1000, ge=1, description="steps between two checkpoints")
    keep: int = Field(2, ge=1, description="number of checkpoints kept")
    keep_best: str | None = Field(
        None,
        description="a held-out loss or term (`loss`, `nll`): the checkpoint with the least is "
        "kept as well, as `checkpoints/best`",
        examples=["loss"],
    )
    sample_every: int | None = Field(None, ge=1, description="steps between two sets of samples")
    evaluate_every: int | None = Field(None, ge=1, description="steps between two evaluations")
    samples: int | None = Field(
        None,
        ge=1,
        description="number of samples in a set; if null 8, or 2000 points in the plane",
    )
    max_time: float | None = Field(
        None, gt=0, description="minutes after which training saves and stops"
    )
    callbacks: list[CallbackSlot] = Field(
        default_factory=list, description="what looks at the run while it trains"
    )
    trackers: list[str] = Field(
        default_factory=list,
        description="where records are sent beside `metrics.jsonl`: tensorboard, wandb, mlflow, …",
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")

    def averages(self) -> dict[float, str]:
        """The rates of the averaged weights, and what their files in a checkpoint are called.

        Example:
            >>> TrainSpec(ema=[0.9, 0.999]).averages()
            {0.9: 'ema', 0.999: 'ema-0.999'}
        """
        given = self.ema if isinstance(self.ema, list) else [self.ema]
        rates = [rate for rate in given if rate is not None]
        return {rate: f"ema-{rate}" if i else "ema" for i, rate in enumerate(rates)}

    @model_validator(mode="after")
    def _best_needs_evaluations(self) -> Self:
        if self.keep_best is not None and self.evaluate_every is None:
            raise ValueError(
                f"keep_best must have evaluations to choose by, got {self.keep_best!r} and no "
                "evaluate_every. Set one."
            )
        return self

    @model_validator(mode="after")
    def _rates_differ(self) -> Self:
        if isinstance(self.ema, list) and len(self.averages()) < len(self.ema):
            raise ValueError(f"ema must have different rates, got {self.ema}. Leave one out.")
        return self
