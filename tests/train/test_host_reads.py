"""Between two lines of the log the host waits for nothing."""

import pytest
import torch
from host_reads import HostReads
from learning_parts import offered
from run_specs import FLOWS, small

from corekit.data.loading import Loader
from corekit.interfaces.callback import Callback
from corekit.train import trainer as module
from corekit.train.trainer import Trainer


@pytest.fixture(autouse=True)
def toys():
    with offered():
        yield


class CountSteps(Callback):
    """How much had been read when each step ended."""

    def __init__(self, reads):
        self.reads, self.at = reads, []

    def on_step_end(self, run):
        self.at.append(len(self.reads.found))


class Prepared:
    """Batches that were read before: loading is work of the host."""

    def __init__(self, trainer):
        loader = Loader(trainer.dataset.split("train"), trainer.train.batch_size, seed=0)
        self.batch = next(iter(loader))

    def __iter__(self):
        while True:
            yield self.batch


def reads_of(spec, folder, monkeypatch):
    """What a run of ten steps reads in each step; the log is written after steps 1 and 10."""
    reads = HostReads()
    counts = CountSteps(reads)
    trainer = Trainer(spec, folder, quiet=True, callbacks=[counts])
    prepared = Prepared(trainer)
    monkeypatch.setattr(module, "Loader", lambda *args, **options: prepared)
    with reads:
        trainer.fit()
    return [b - a for a, b in zip(counts.at, counts.at[1:], strict=False)], len(reads.found)


@pytest.mark.filterwarnings("ignore:.*couple the rows")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", ["flow", "latent", "diffusion", "gan", *FLOWS])
def test_no_step_reads_a_value(model, precision, tmp_path, monkeypatch):
    """With averages at two rates, clipping, accumulation, a schedule, and parts that learn."""
    spec = small(
        model,
        precision=precision,
        accumulate=2,
        ema=[0.9, 0.5],
        lr_schedule={"type": "cosine", "end": 10, "warmup_steps": 3},
        log_every=10,
        checkpoint_every=10,
        batch_size=12,
        **({"phases": {"main": {"every": 2}}} if model == "gan" else {}),
    )
    steps, whole_run = reads_of(spec, tmp_path, monkeypatch)
    assert steps == [0] * 9
    assert whole_run > 0  # the log and the checkpoint do read


def test_a_guard_that_skips_reads_one_value_per_step_and_phase(tmp_path, monkeypatch):
    """What the documentation says of it, and that the counting works."""
    spec = small("gan", guard="skip", log_every=10, checkpoint_every=10)
    steps, _ = reads_of(spec, tmp_path, monkeypatch)
    assert steps == [2] * 9


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.sum() > 0),
        lambda x: x.tolist(),
        lambda x: x.numpy(),
        lambda x: x.cpu(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.equal(x, x),
        lambda x: x.unique(),
        lambda x: x.repeat_interleave((x > 0).long()),
    ],
)
def test_every_way_to_read_is_counted(read):
    with HostReads() as reads:
        read(torch.ones(3))
    assert reads.found
