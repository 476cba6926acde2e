"""Specs: what a YAML file may say, checked without torch."""

from corekit.spec.base import Section, Spec, place
from corekit.spec.check import check_spec
from corekit.spec.dump import dump_yaml
from corekit.spec.load import LoadedSpec, load_spec, run_spec
from corekit.spec.run import RunSpec
from corekit.spec.slots import (
    BijectorSlot,
    DatasetSlot,
    DecoderSlot,
    DenoiserSlot,
    DenoisingLossSlot,
    EncoderSlot,
    LossSlot,
    LrScheduleSlot,
    MetricSlot,
    ModelSlot,
    NoiseScheduleSlot,
    OptimizerSlot,
    PriorSlot,
    SamplerSlot,
    Slot,
    TimestepSamplerSlot,
    spec_class,
)
from corekit.spec.train import TrainSpec

__all__ = [
    "BijectorSlot",
    "DatasetSlot",
    "DecoderSlot",
    "DenoiserSlot",
    "DenoisingLossSlot",
    "EncoderSlot",
    "LoadedSpec",
    "LossSlot",
    "LrScheduleSlot",
    "MetricSlot",
    "ModelSlot",
    "NoiseScheduleSlot",
    "OptimizerSlot",
    "PriorSlot",
    "RunSpec",
    "SamplerSlot",
    "Section",
    "Slot",
    "Spec",
    "TimestepSamplerSlot",
    "TrainSpec",
    "check_spec",
    "dump_yaml",
    "load_spec",
    "place",
    "run_spec",
    "spec_class",
]
