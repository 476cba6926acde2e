"""Metrics may be named with options, and those of samples look at the same samples."""

import pytest

import corekit.train.evaluation as evaluation
from corekit.build import build
from corekit.data_spec import DataSpec
from corekit.errors import SpecError
from corekit.spec import run_spec

SPEC = {
    "version": 1,
    "model": {
        "type": "diffusion",
        "denoiser": {"type": "pointcloud.pointwise", "hidden": [4]},
        "schedule": {"type": "ddpm.linear", "steps": 4, "beta_start": 0.5, "beta_end": 0.9},
        "loss": "ddpm.mse",
    },
    "data": {"type": "shapes3d", "points": 6, "size": 8, "held_out": 3},
    "train": {"device": "cpu"},
}


def test_samples_are_made_once_for_all_metrics_of_samples(monkeypatch):
    spec = run_spec(SPEC)
    model = build(spec, data=DataSpec((6, 3))).eval()
    generate, calls = evaluation.generate, []
    monkeypatch.setattr(
        evaluation, "generate", lambda *a, **k: calls.append(a) or generate(*a, **k)
    )
    wanted = ["pointcloud.mmd", "{type: pointcloud.mmd, distance: emd}", "pointcloud.jsd"]
    found = evaluation.evaluate(model, spec, metrics=wanted)["figures"]
    names = [figure["name"] for figure in found if figure["name"].startswith("pointcloud")]
    assert names == [
        "pointcloud.mmd/mmd",
        "pointcloud.mmd/mmd_samples",
        "pointcloud.mmd/mmd_emd",
        "pointcloud.mmd/mmd_samples_emd",
        "pointcloud.jsd/jsd",
    ]
    assert len(calls) == 1


def test_options_of_a_metric_are_checked_as_in_a_spec():
    spec = run_spec(SPEC)
    (metric,) = evaluation._chosen(spec, ["{type: pointcloud.one_nna, distance: emd_pvd}"])
    assert (metric.distance, metric.points) == ("emd_pvd", None)
    with pytest.raises(SpecError, match=r"unknown key .distanse.; did you mean .distance."):
        evaluation._chosen(spec, ["{type: pointcloud.one_nna, distanse: emd}"])
    with pytest.raises(SpecError, match="YAML"):
        evaluation._chosen(spec, ["{type: pointcloud.one_nna"])
