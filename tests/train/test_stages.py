"""Stages: named parts trained one after the other, while what is frozen stays."""

import json
from pathlib import Path

import pytest
import torch
from run_specs import POINTNET
from stage_parts import (
    COUPLED,
    COUPLING,
    STAGES,
    of_part,
    stage_parts,
    staged,
    trained,
    weights,
)

from corekit.checkpoint import find, read
from corekit.checkpoint.tree import same
from corekit.cli.main import main
from corekit.errors import CheckpointError, UsageError
from corekit.spec import run_spec
from corekit.train.coupling import coupled
from corekit.train.trainer import Trainer

TOYS = Path(__file__).parent.parent / "toys"


@pytest.fixture(autouse=True)
def parts():
    """Specs may name the toys."""
    with stage_parts():
        yield


# -- what is trained, and what is not --------------------------------------------------------------


def test_a_stage_trains_its_parts_and_leaves_the_others_bit_for_bit(tmp_path):
    spec = staged()
    first = Trainer(spec.of_stage(spec.stages[0]), tmp_path / "first", quiet=True)
    fresh = {k: v.clone() for k, v in first.model.state_dict().items()}
    trained(spec, tmp_path / "run")
    one, two = weights(tmp_path / "run", "1-autoencoder"), weights(tmp_path / "run", "2-prior")
    assert same(of_part(one, "prior."), of_part(fresh, "prior."))
    for name in ("encoder.body.0.weight", "encoder.body.1.running_mean", "decoder.network.0.bias"):
        assert not torch.equal(one[name], fresh[name]), name
    start = weights(tmp_path / "run", "1-autoencoder", file="ema")
    assert same(of_part(two, "encoder.", "decoder."), of_part(start, "encoder.", "decoder."))
    assert two["prior.bijector.members.0.ready"]  # from latents of the trained encoder
    assert not start["prior.bijector.members.0.ready"]
    assert not same(of_part(two, COUPLED), of_part(one, COUPLED))


@pytest.mark.slow
def test_frozen_parts_stay_where_nothing_is_cached(tmp_path):
    stages = [STAGES[0], {**STAGES[1], "cache": False}]
    trained(staged(point=False, stages=stages), tmp_path / "run")
    start = weights(tmp_path / "run", "1-autoencoder", file="ema")
    end = weights(tmp_path / "run", "2-prior")
    assert same(of_part(end, "encoder.", "decoder."), of_part(start, "encoder.", "decoder."))


@pytest.mark.slow
def test_a_frozen_part_learns_nothing_from_losses(tmp_path):
    prior = {
        "type": "diffusion",
        "denoiser": {"type": "pointcloud.pointwise", "hidden": [4]},
        "schedule": {"type": "ddpm.linear", "steps": 20, "beta_start": 1e-4, "beta_end": 0.5},
        "loss": {"type": "ddpm.mse"},
        "timesteps": {"type": "toy.loss_aware"},
    }
    model = {"type": "latent", "encoder": POINTNET}
    model |= {"decoder": prior, "prior": {"type": "flow", "bijector": COUPLING}}
    tree = staged().model_dump() | {"model": model}
    tree["data"] = {"type": "shapes3d", "points": 8, "size": 12, "held_out": 6}
    tree["train"]["ema"], tree["stages"] = None, []
    counted = []
    for parts in (["decoder.*"], ["encoder.*"]):
        tree["train"]["parts"] = parts
        trainer = Trainer(run_spec(tree), tmp_path / parts[0][:3], quiet=True)
        trainer.fit()
        counted.append(int(trainer.model.decoder.timesteps.calls))
    assert counted == [6, 0]


def test_dropout_is_off_in_frozen_parts_and_on_in_trained_ones(tmp_path):
    spec = staged()
    modes, norms = [], []
    for stage in spec.stages:
        trainer = Trainer(spec.of_stage(stage), tmp_path / stage.name, quiet=True)
        body = trainer.model.encoder.body
        with trainer.evaluating():
            assert not body[2].training
        modes.append([part.training for part in (body[1], body[2], body, trainer.model)])
        norms += coupled(trainer.model)
    assert norms == ["encoder.body.1 (BatchNorm1d)"]  # frozen, it sees no batch
    assert modes == [[True] * 4, [False, False, False, True]]


def test_two_stages_are_two_runs_by_hand(tmp_path):
    stages = [STAGES[0], {**STAGES[1], "cache": False, "train": {}}]
    prior = {"type": "flow", "bijector": COUPLING}
    spec = staged(norm=False, stages=stages, prior=prior)
    trained(spec, tmp_path / "run")
    tree = spec.model_dump() | {"stages": []}
    tree["train"]["groups"] = [{"match": "prior.*", "freeze": True}]
    Trainer(run_spec(tree), tmp_path / "one", quiet=True).fit()
    tree["train"]["groups"] = [{"match": f"{part}.*", "freeze": True} for part in ("enc*", "dec*")]
    second = Trainer(run_spec(tree), tmp_path / "two", start=tmp_path / "one", quiet=True)
    second.fit()
    one = read(find(tmp_path / "one"), "model")
    assert same(weights(tmp_path / "run", "1-autoencoder"), one)
    two, ours = read(find(tmp_path / "two"), "model"), weights(tmp_path / "run", "2-prior")
    torch.testing.assert_close(ours, two, rtol=0, atol=1e-7)  # the sum has one term more
    assert not same(of_part(two, "prior."), of_part(one, "prior."))


def test_a_prior_is_trained_although_its_weight_is_zero(tmp_path):
    trained(staged(loss={"kl_weight": 0}), tmp_path / "run")
    one, two = weights(tmp_path / "run", "1-autoencoder"), weights(tmp_path / "run", "2-prior")
    one, two = (torch.cat([v.flatten() for v in of_part(x, COUPLED).values()]) for x in (one, two))
    assert (one - two).abs().max() > 1e-3


@pytest.mark.slow
def test_a_stage_begins_with_the_best_checkpoint_where_it_is_kept(tmp_path):
    stages = [{**STAGES[0], "train": {"keep_best": "loss", "keep": 1}}, STAGES[1]]
    spec = staged(stages=stages, evaluate_every=2)
    log = Trainer.log

    def scored(trainer, split, values, **facts):
        if split == "val" and trainer.run.path.name[0] == "1":
            values = {"loss": abs(trainer.step - 4.0)}
        return log(trainer, split, values, **facts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "log", scored)
        trained(spec, tmp_path / "run")
    origin = weights(tmp_path / "run", "2-prior", file="state")["started_from"]
    assert origin["checkpoint"].endswith("1-autoencoder/checkpoints/step-0000004")
    assert origin["weights"] == "ema"


@pytest.mark.slow
def test_a_callback_that_stops_a_stage_begins_the_next(tmp_path):
    stop = {"type": "stop_when", "patience": 1, "min_change": 1e9}
    stages = [{**STAGES[0], "train": {"evaluate_every": 1, "callbacks": [stop]}}, STAGES[1]]
    made = trained(staged(stages=stages), tmp_path / "run")
    assert json.loads((tmp_path / "run/stages/1-autoencoder/done.json").read_text())["step"] == 2
    assert (made.reason, made.stage, made.step) == (None, 2, 6)


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"parts": ["prio.*"]},
            r"stages\[1\].parts\[0\]: must match the name of a parameter, got 'prio.\*'. "
            "Did you mean 'prior'",
        ),
        ({"parts": ["*"]}, r"stages\[1\].cache: the trained parts must see no more .*LatentModel"),
        ({"parts": ["prior.*", "decoder.*"]}, r"stages\[1\].cache: .*prior\.\*` alone"),
        ({"train": {"groups": [{"match": "prior*", "freeze": True}]}}, "freeze all"),
        ({"train": {"precision": "fp16"}}, "must be fp32 or bf16 on a CPU"),
    ],
)
def test_a_stage_that_cannot_be_trained_is_refused_before_the_first(tmp_path, change, words):
    stages = [STAGES[0], {**STAGES[1], **change}]
    with pytest.raises(UsageError, match=words):
        trained(staged(stages=stages), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_examples_that_are_drawn_anew_are_not_cached(tmp_path):
    tree = staged().model_dump()
    tree["model"]["encoder"] = POINTNET
    tree["data"] = {"type": "shapes3d", "points": 8, "size": 12, "held_out": 6}
    with pytest.raises(UsageError, match=r"got those of Shapes3d, which are drawn anew"):
        trained(run_spec(tree), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_trainer_refuses_stages_and_a_run_is_not_overwritten(tmp_path):
    with pytest.raises(UsageError, match="the spec must have no stages, got some"):
        Trainer(staged(), tmp_path / "run")
    trained(staged(), tmp_path / "run")
    with pytest.raises(UsageError, match="got one with a run in it"):
        trained(staged(), tmp_path / "run")
    with pytest.raises(CheckpointError, match="must be a run with stages, got none"):
        trained(staged(), tmp_path / "none", resume=True)
    with pytest.raises(CheckpointError, match="got no such folder"):
        trained(staged(), tmp_path / "new", start=tmp_path / "nowhere")
    assert not (tmp_path / "new").exists()


# -- the commands ----------------------------------------------------------------------------------


CLOUDS = """
version: 1
model:
  type: latent
  encoder: {type: pointcloud.pointnet, latent_dim: 4, widths: [8], head: [8], posterior: point}
  prior: {type: flow, bijector: {type: realnvp.affine_coupling, hidden: 4}}
  decoder:
    type: diffusion
    denoiser: {type: pointcloud.pointwise, hidden: [8]}
    schedule: {type: ddpm.linear, steps: 20, beta_start: 1e-4, beta_end: 0.5}
    loss: ddpm.mse
data: {type: shapes3d, points: 8, size: 12, held_out: 4, resample: false}
train: {steps: 3, batch_size: 6, device: cpu}
stages:
  - {name: autoencoder, parts: ["encoder.*", "decoder.*"]}
  - {name: prior, parts: ["prior.*"], cache: true}
"""


def test_the_commands_know_stages(write, capsys):
    def run(*words):
        code = main([*map(str, words)])
        return code, capsys.readouterr()

    write(CLOUDS)
    assert run("validate", "spec.yaml", "--build")[0] == 0
    code, said = run("train", "spec.yaml", "--run", "two")
    assert code == 0
    last = "runs/two/stages/2-prior/checkpoints/step-0000003"
    assert f"done: stage 2 of 2, step 3 of 3, {last}" in said.out
    assert "stage 1 of 2, autoencoder: training in runs/two/stages/1-autoencoder" in said.out
    for command in (["sample", "--num", 2], ["reconstruct", "--num", 2], ["evaluate"], ["inspect"]):
        code, said = run(command[0], "runs/two", *command[1:])
        assert (code, last in said.out) == (0, True), command
    code, said = run("train", "spec.yaml", "--resume", "--run", "two")
    assert (code, "stage 2 of 2, prior: done" in said.out) == (0, True)
    code, said = run("train", "spec.yaml", "--resume", "runs/two/stages/1-autoencoder")
    assert (code, "must be the folder of the whole run" in said.err) == (2, True)
    code, said = run("validate", "spec.yaml", "--build", "--set", "stages[1].parts=[pior.*]")
    assert (code, "Did you mean 'prior'" in said.err) == (2, True)
