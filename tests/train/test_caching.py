"""What frozen parts give of each example is computed once and trained on as if it were not."""

import os
import signal

import pytest
import torch
from stage_parts import STAGES, differing, killed, result, stage_parts, staged, trained

from corekit.checkpoint.tree import same
from corekit.cli.main import main
from corekit.data.rows import FileRows, MemoryRows
from corekit.errors import CheckpointError, DivergedError
from corekit.interfaces.draws import GivenDraws
from corekit.latent.fitting import PriorLoss
from corekit.latent.posteriors import DiagonalGaussian
from corekit.train import caching
from corekit.train.caching import prepare
from corekit.train.processes import Share
from corekit.train.trainer import Trainer


@pytest.fixture(autouse=True)
def parts():
    """Specs may name the toys."""
    with stage_parts():
        yield


def prior_stage(folder, cache=True, name=None, **options):
    """A trainer of the second stage, one step long, from what one step of the first gave."""
    stages = [STAGES[0], {**STAGES[1], "cache": cache}]
    spec = staged(stages=stages, **{"steps": 1, **options})
    if not (folder / "first").exists():
        Trainer(spec.of_stage(spec.stages[0]), folder / "first", quiet=True).fit()
    run = folder / (name or f"cache-{cache}")
    return Trainer(spec.of_stage(spec.stages[1]), run, start=folder / "first", quiet=True)


def prepared(trainer):
    assert prepare(trainer, Share(trainer.processes)) is None
    return trainer


@pytest.mark.parametrize("point", [True, False])
def test_the_loss_on_codes_is_the_loss_on_data(tmp_path, point):
    records = []
    for cache in (True, False):
        trainer = prior_stage(tmp_path, cache, point=point, log_every=1)
        trainer.fit()
        assert (trainer.examples is trainer.dataset) != cache
        records.append(list(trainer.run.records()))
    assert [r["split"] for r in records[0]] == ["train", "val"]
    for coded, plain in zip(*records, strict=True):
        assert coded["split"] == plain["split"]
        for name in ("loss", "kl", "cross_entropy", "negative_entropy"):
            assert coded[name] == pytest.approx(plain[name], rel=1e-6), name
    if not point:
        assert records[0][0]["z_std"] == pytest.approx(records[1][0]["z_std"], rel=1e-6)


def test_a_gaussian_gives_a_new_latent_at_each_visit(tmp_path):
    trainer = prepared(prior_stage(tmp_path, point=False))
    seen = []
    loss = trainer.model.prior.loss
    trainer.model.prior.loss = lambda z, **options: seen.append(z.clone()) or loss(z, **options)
    batch = next(trainer._batches())
    for _ in range(2):
        trainer._step(batch)
    assert not torch.equal(seen[0], seen[1])
    mu, log_var = batch.x.unbind(1)
    eps = (seen[0] - mu) * (-0.5 * log_var).exp()
    assert 0.3 < eps.std() < 3
    draws = GivenDraws({"z": eps})
    again = DiagonalGaussian(mu, log_var).rsample_and_log_prob(draws)[0]
    torch.testing.assert_close(again, seen[0])
    plain = trainer.model.encoder.eval()(trainer.dataset.split("train").get_batch(batch.rows).x)
    torch.testing.assert_close((plain.mu, plain.log_var), (mu, log_var))


def test_neither_encoder_nor_decoder_is_called_in_a_cached_stage(tmp_path):
    trainer = prepared(prior_stage(tmp_path, evaluate_every=1))
    for part in (trainer.model.encoder, trainer.model.decoder):
        part.forward = killed
    trainer.model.decoder.loss = killed
    assert trainer.fit() is None
    assert trainer.step == 1


def test_the_cache_is_used_again_and_made_anew_for_other_weights(tmp_path, monkeypatch):
    counted = []
    fill = caching._fill
    monkeypatch.setattr(caching, "_fill", lambda *args: counted.append(1) or fill(*args))
    trainer = prior_stage(tmp_path)
    trainer.fit()
    again = prepared(Trainer(trainer.spec, trainer.run.path, resume=True, quiet=True))
    assert counted == [1]
    before = again.examples.split("train").get_batch([3, 5]).x
    other = Trainer(trainer.spec, trainer.run.path, resume=True, quiet=True)
    with torch.no_grad():
        other.model.encoder.mu.bias += 1
    prepared(other)
    assert counted == [1, 1]
    torch.testing.assert_close(other.examples.split("train").get_batch([3, 5]).x, before + 1)
    assert other.examples.splits == ("train", "val")


@pytest.mark.slow
def test_codes_are_read_row_by_row_where_they_are_many(tmp_path, monkeypatch):
    found = []
    for name, limit, kind in (("small", 10**9, MemoryRows), ("large", 0, FileRows)):
        monkeypatch.setattr(caching, "_IN_MEMORY", limit)
        trainer = prior_stage(tmp_path, name=name, workers=0 if limit else 2)
        assert trainer.fit() is None
        assert isinstance(trainer.examples._rows["train"], kind)
        val = trainer.examples.split("val").get(7, None).x
        found.append([val, dict(trainer.model.state_dict())])
    assert same(*found)


@pytest.mark.slow
def test_a_signal_while_codes_are_computed_is_heard(tmp_path, monkeypatch):
    monkeypatch.setattr(caching, "ROWS", 8)
    code = PriorLoss.code

    def signalled(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return code(*args)

    with monkeypatch.context() as patch:
        patch.setattr(PriorLoss, "code", signalled)
        made = trained(staged(), tmp_path / "parts")
    assert (made.reason, made.stage, made.step) == ("preempted", 2, 0)
    assert not list((tmp_path / "parts/stages/2-prior").glob("*cache*"))
    trained(staged(), tmp_path / "parts", resume=True)
    trained(staged(), tmp_path / "whole")
    assert differing(result(tmp_path / "whole"), result(tmp_path / "parts")) == []


def test_a_full_disk_while_codes_are_written_is_told(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching.np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(CheckpointError, match=r"train.npy: what is cached must fit on the disk"):
        prior_stage(tmp_path).fit()
    assert not list((tmp_path / "cache-True").glob("*cache*"))


def test_a_cached_stage_that_diverged_is_taken_again(tmp_path, monkeypatch):
    stages = [STAGES[0], {**STAGES[1], "train": {"optimizer": {"lr": 1e30}}}]
    with pytest.raises(DivergedError, match="The first number that is not finite is in the output"):
        trained(staged(stages=stages), tmp_path / "run")
    file = tmp_path / "run/stages/2-prior/diverged.json"
    assert '"prior.' in file.read_text()
    opened = []
    codes = caching.Codes
    monkeypatch.setattr(caching, "Codes", lambda *args: opened.append(args[0]) or codes(*args))
    monkeypatch.setattr(caching, "_fill", killed)
    assert main(["train", str(tmp_path / "run/spec.yaml"), "--replay", str(file)]) == 6
    assert opened == [tmp_path / "run/stages/2-prior/cache"]
