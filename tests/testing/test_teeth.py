"""Every planted bug is found, by the check that claims to find it."""

import pytest
from teeth import every_right_part, every_tooth

from corekit.testing import check_component

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("tooth", every_tooth(), ids=lambda tooth: f"{tooth.kind}: {tooth.bug}")
def test_a_planted_bug_is_found(tooth):
    results = check_component(tooth.kind, tooth.part, how=tooth.how, only={tooth.caught_by})
    assert results, f"there is no check {tooth.caught_by}"
    assert "failed" in [result.status for result in results]


@pytest.mark.parametrize(("kind", "part"), every_right_part())
def test_a_part_without_a_bug_passes(kind, part):
    assert [result for result in check_component(kind, part) if not result.ok] == []
