"""Each distance is measured once, minima with few of them, and a killed run goes on."""

import os
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from corekit.errors import DataError, ShapeError
from corekit.metrics.all_pairs import Pairs, all_pairs, paired
from corekit.metrics.emd import EMDPairs
from corekit.metrics.named_distances import DISTANCES, named_distance
from corekit.metrics.pair_distance import PairDistance


def clouds(seed, *sizes, points=20):
    """Clouds of different extents, so that some are near each other and others far."""
    rng = np.random.default_rng(seed)
    return [
        [rng.normal(size=(points, 3)) * rng.uniform(0.3, 2, 3) for _ in range(n)] for n in sizes
    ]


class Counted(PairDistance):
    """Distance of the first points, which remembers what it was asked for."""

    name = "counted"
    definition = "of the first points"

    def __init__(self):
        self.asked = []

    def row(self, x, others):
        self.asked.append(len(others))
        return np.array([np.abs(x[0] - y[0]).sum() for y in others])


@pytest.mark.parametrize("name", DISTANCES)
def test_a_row_and_a_matrix_and_the_pairs_agree(name):
    a, b = clouds(0, 3, 4, points=9)
    distance = named_distance(name)
    matrix = all_pairs(distance, a, b)
    assert matrix.shape == (3, 4)
    np.testing.assert_allclose(paired(distance, a, b[:3]), np.diag(matrix), rtol=1e-12)
    alone = all_pairs(distance, a)
    np.testing.assert_allclose(alone, all_pairs(distance, a, a), rtol=1e-9, atol=1e-12)
    assert np.array_equal(alone, alone.T) == distance.symmetric


@pytest.mark.parametrize("name", ["emd", "emd_squared"])
@pytest.mark.parametrize("workers", [1, 3])
def test_minima_and_their_places_are_those_of_the_whole_matrix(name, workers):
    a, b = clouds(1, 9, 12)
    pairs = Pairs(named_distance(name), a, b, workers=workers)
    whole = all_pairs(named_distance(name), a, b)
    for columns in ([3, 1, 8, 5], range(12)):
        block, wanted = pairs.minima(range(9), columns), whole[:, list(columns)]
        assert np.array_equal(block.min(0), wanted.min(0))
        assert np.array_equal(block.min(1), wanted.min(1))
        assert np.array_equal(block.argmin(0), wanted.argmin(0))
        assert np.array_equal(block.argmin(1), wanted.argmin(1))
        known = np.isfinite(block)
        assert np.array_equal(block[known], wanted[known])
    assert pairs.solved <= 0.6 * 9 * 12


def test_of_a_set_with_itself_a_cloud_is_no_neighbour_of_itself():
    (a,) = clouds(2, 10)
    for name in ("chamfer", "emd"):
        pairs = Pairs(named_distance(name), a)
        rows = [7, 2, 5, 0, 9]
        whole = all_pairs(named_distance(name), a)[np.ix_(rows, rows)]
        np.fill_diagonal(whole, np.inf)
        block = pairs.minima(rows, rows)
        assert (np.diag(block) == np.inf).all()
        assert np.array_equal(block.argmin(1), whole.argmin(1))
        assert np.array_equal(block.argmin(0), whole.argmin(0))
        assert pairs.solved <= (10 if name == "emd" else 45)


def test_equal_distances_are_all_measured_so_that_the_first_wins():
    (a,) = clouds(3, 4)
    copies = [a[0], a[1], a[0], a[0]]
    pairs = Pairs(named_distance("emd"), [a[0], a[2]], copies)
    block = pairs.minima(range(2), range(4), of_columns=False)
    assert block[0].tolist() == [0, np.inf, 0, 0]


def test_a_second_question_measures_only_what_is_new(tmp_path):
    (a,) = clouds(4, 6)
    first = Counted()
    matrix = all_pairs(first, a, cache=tmp_path)
    assert first.asked == [5, 4, 3, 2, 1]
    again = Counted()
    assert np.array_equal(all_pairs(again, a, cache=tmp_path), matrix)
    assert again.asked == []
    other = Counted()
    all_pairs(other, [*a[:5], a[5] + 1e-12], cache=tmp_path)
    assert sum(other.asked) == 15
    whole = Counted()
    assert np.array_equal(all_pairs(whole, a, a, cache=tmp_path), matrix)
    assert len(whole.asked) == 6


def test_threads_measure_no_pair_twice():
    (a,) = clouds(11, 6)

    class Slow(Counted):
        def row(self, x, others):
            time.sleep(0.02)
            return super().row(x, others)

    slow = Slow()
    assert np.array_equal(all_pairs(slow, a, workers=3), all_pairs(Counted(), a))
    assert sorted(slow.asked) == [1, 2, 3, 4, 5]


def test_the_cheap_bound_spares_pairs_the_costs_of_the_better_one(monkeypatch):
    a, b = clouds(1, 9, 12)
    asked = []
    unless_above = EMDPairs.unless_above
    monkeypatch.setattr(
        EMDPairs, "unless_above", lambda *given: asked.append(1) or unless_above(*given)
    )
    pairs = Pairs(named_distance("emd"), a, b)
    pairs.minima(range(9), range(12))
    assert pairs.solved <= len(asked) <= 0.8 * 9 * 12


def test_another_distance_finds_nothing_in_the_cache(tmp_path):
    a, b = clouds(5, 2, 3)
    plain = all_pairs(named_distance("emd"), a, b, cache=tmp_path)
    squared = all_pairs(named_distance("emd_squared"), a, b, cache=tmp_path)
    assert (plain != squared).all()
    assert len(list(tmp_path.glob("emd-*"))) == len(list(tmp_path.glob("emd_squared-*"))) == 1


def test_an_interrupt_at_a_row_loses_that_row_only(tmp_path):
    (a,) = clouds(6, 7)

    class Interrupted(Counted):
        def row(self, x, others):
            if len(self.asked) == 3:
                raise KeyboardInterrupt
            return super().row(x, others)

    first = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        all_pairs(first, a, cache=tmp_path)
    second = Counted()
    assert np.array_equal(all_pairs(second, a, cache=tmp_path), all_pairs(Counted(), a))
    assert first.asked + second.asked == [6, 5, 4, 3, 2, 1]


KILLED = """
    import os, signal, sys
    import numpy as np
    from corekit.metrics.all_pairs import Pairs
    from corekit.metrics.emd import EMDPairs

    class Dying(EMDPairs):
        solved = 0
        def unless_above(self, x, y, best):
            found = super().unless_above(x, y, best)
            self.solved += found[1]
            if self.solved > int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
            return found

    a, b = np.load(sys.argv[1] + "/sets.npy")
    Pairs(Dying(), a, b, cache=sys.argv[1] + "/cache").minima(range(8), range(8))
"""


def test_a_killed_process_is_taken_up_where_it_was(tmp_path):
    a, b = clouds(7, 8, 8)
    np.save(tmp_path / "sets.npy", np.array([a, b]))
    script = textwrap.dedent(KILLED)
    died = subprocess.run([sys.executable, "-c", script, str(tmp_path), "12"], check=False)
    assert died.returncode == -9
    alone = Pairs(named_distance("emd"), a, b)
    wanted = alone.minima(range(8), range(8))
    again = Pairs(named_distance("emd"), a, b, cache=tmp_path / "cache")
    found = again.kept.found
    assert 0 < found <= 12
    assert np.array_equal(again.minima(range(8), range(8)), wanted)
    assert again.solved == alone.solved - found
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_a_half_written_file_is_not_read(tmp_path):
    a, b = clouds(8, 3, 3)
    wanted = all_pairs(Counted(), a, b, cache=tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "0.partial").write_bytes(b"half")
    assert np.array_equal(all_pairs(Counted(), a, b, cache=tmp_path), wanted)
    (folder / "0.npy").write_bytes(b"half")
    with pytest.raises(DataError, match=r"must hold \(row, column, distance\), .* Remove"):
        all_pairs(Counted(), a, b, cache=tmp_path)


def test_an_interrupt_while_writing_leaves_no_file_to_read(tmp_path, monkeypatch):
    a, b = clouds(12, 2, 2)

    def half(file, array):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(np, "save", half)
        with pytest.raises(KeyboardInterrupt):
            all_pairs(Counted(), a, b, cache=tmp_path)
    assert np.array_equal(all_pairs(Counted(), a, b, cache=tmp_path), all_pairs(Counted(), a, b))


def test_a_cache_that_cannot_be_written_is_an_error_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    counted = Counted()
    with pytest.raises(DataError, match="must be a folder to write to"):
        all_pairs(counted, *clouds(9, 2, 2), cache=tmp_path / "file")
    assert counted.asked == []


def test_sets_that_do_not_fit_are_refused_before_the_work():
    a, b = clouds(10, 2, 2)
    with pytest.raises(ShapeError, match=r"Counted: cloud 1 .* got \(20, 2\)"):
        all_pairs(Counted(), a, [b[0], b[1][:, :2]])
    with pytest.raises(ShapeError, match="pairs must be complete, got 2 and 1"):
        paired(Counted(), a, b[:1])


GOLDEN = os.environ.get("COREKIT_GOLDEN")


@pytest.mark.skipif(
    not GOLDEN, reason="COREKIT_GOLDEN does not name a folder with golden/pointcloud"
)
@pytest.mark.parametrize("name", ["exact_L2", "exact_squaredL2"])
def test_golden_minima_take_few_solutions(name):
    with np.load(f"{GOLDEN}/pointcloud/metrics.npz") as golden:
        wanted = golden[f"emd/ref_sample_{name}_f64"]
        distance = named_distance("emd" if name == "exact_L2" else "emd_squared")
        pairs = Pairs(distance, golden["ref"], golden["sample"])
        block = pairs.minima(range(12), range(10))
        for axis in (0, 1):
            np.testing.assert_allclose(block.min(axis), wanted.min(axis), rtol=1e-12)
            assert np.array_equal(block.argmin(axis), wanted.argmin(axis))
        assert pairs.solved <= 0.6 * 120  # minima of rows and columns both
        alone = Pairs(distance, golden["ref"], golden["sample"])
        block = alone.minima(range(12), range(10), of_columns=False)
        assert np.array_equal(block.argmin(1), wanted.argmin(1))
        assert alone.solved <= 0.4 * 120
