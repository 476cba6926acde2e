"""A run that was stopped and resumed is the run uninterrupted, however it runs and stops."""

import json
from itertools import product
from pathlib import Path

import pytest
from covering import covering
from learning_parts import offered
from ranks import launch
from resuming import Case, check

TOYS = Path(__file__).parent.parent / "toys"

VALUES = {
    "model": ("flow", "latent", "gan"),
    "workers": (0, 2),
    "precision": ("fp32", "bf16"),
    "accumulate": (1, 3),
    "processes": (1, 2),
    "stop": ("signal", "checkpoint", "killed"),
}

# Every pair of values of two columns is in some row.
PAIRWISE = [
    Case("latent", 0, "fp32", 1, 1, "signal"),
    Case("latent", 2, "bf16", 3, 1, "signal"),
    Case("flow", 0, "bf16", 3, 2, "signal"),
    Case("latent", 2, "fp32", 1, 1, "checkpoint"),
    Case("flow", 0, "fp32", 1, 2, "checkpoint"),
    Case("flow", 2, "bf16", 3, 2, "checkpoint"),
    Case("flow", 0, "fp32", 3, 1, "killed"),
    Case("latent", 2, "bf16", 1, 2, "killed"),
    Case("gan", 0, "bf16", 1, 1, "signal"),
    Case("gan", 2, "fp32", 3, 2, "checkpoint"),
    Case("gan", 2, "bf16", 3, 1, "killed"),
]
EVERY = list(map(Case._make, product(*VALUES.values())))
REST = covering(EVERY, 3, PAIRWISE)  # every three values of three columns


def test_the_table_has_every_pair_of_values():
    assert covering(EVERY, 2, PAIRWISE) == []
    assert len(EVERY) == 144
    assert len(REST) < 40


def in_one_process(cases):
    return [case for case in cases if case.processes == 1]


@pytest.mark.parametrize("case", in_one_process(PAIRWISE), ids=str)
def test_one_process_goes_on_as_if_nothing_had_happened(case, tmp_path):
    with offered():
        assert check(case, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("case", in_one_process(REST), ids=str)
def test_one_process_goes_on_in_every_other_way(case, tmp_path):
    with offered():
        assert check(case, tmp_path) == []


def in_two_processes(cases, folder):
    """Check cases one after the other in one launch; what differs, by case."""
    chosen = [case for case in cases if case.processes == 2]
    for process in launch(TOYS / "resuming.py", folder, json.dumps(chosen), timeout=1500):
        assert process.returncode == 0, process.stderr
    found = [json.loads((folder / f"found-{rank}.json").read_text()) for rank in (0, 1)]
    assert found[0] == found[1]
    return dict(zip(chosen, found[0], strict=True))


def test_two_processes_go_on_as_if_nothing_had_happened(tmp_path):
    found = in_two_processes(PAIRWISE, tmp_path)
    assert found == {case: [] for case in found}
    assert len(found) == 5


@pytest.mark.slow
def test_two_processes_go_on_in_every_other_way(tmp_path):
    found = in_two_processes(REST, tmp_path)
    assert found == {case: [] for case in found}
