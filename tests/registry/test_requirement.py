"""The range of corekit that a package asks for, judged as pip would (PEP 440)."""

import random

import pytest
from packaging.requirements import Requirement

from corekit.registry.requirement import unmet

CASES = [
    # requirement, versions that meet it, versions that do not
    ("corekit>=0.3,<0.4", ["0.3", "0.3.0", "0.3.9"], ["0.2.9", "0.4", "0.4.1", "1.3"]),
    ("corekit<0.10,>=0.9", ["0.9.5"], ["0.10", "0.1"]),
    ("corekit (>=0.3)", ["0.3"], ["0.2"]),
    ("corekit[all]>=1", ["1.0"], ["0.9"]),
    ("corekit==0.3", ["0.3.0"], ["0.3.1"]),
    ("corekit==0.3.*", ["0.3", "0.3.7"], ["0.4", "0.2"]),
    ("corekit!=0.3.*", ["0.4"], ["0.3", "0.3.1"]),
    ("corekit!=0.3.1", ["0.3"], ["0.3.1"]),
    ("corekit~=0.3.1", ["0.3.1", "0.3.8"], ["0.3.0", "0.4.0"]),
    ("corekit~=0.3.0", ["0.3"], ["0.2"]),
    ("corekit~=1.4", ["1.4", "1.9.2"], ["1.3", "2.0"]),
    ("corekit>0.3,<=0.5", ["0.3.1", "0.5"], ["0.3", "0.5.1"]),
    ("corekit===0.3.0", ["0.3.0"], ["0.3.1"]),
    ("CoreKit >= 0.3 , < 0.4", ["0.3.1"], ["0.4"]),
    ("corekit", ["0.0.1", "9"], []),
]


@pytest.mark.parametrize(("requirement", "met", "not_met"), CASES)
def test_a_version_lies_in_the_range_or_not(requirement, met, not_met):
    for version in met:
        assert unmet([requirement], "corekit", version) is None
    for version in not_met:
        assert unmet([requirement], "corekit", version)


def test_a_pre_release_counts_as_its_release():
    assert unmet(["corekit>=0.4"], "corekit", "0.4.0.dev3") is None
    assert unmet(["corekit<0.4"], "corekit", "0.4.0rc1") == "corekit<0.4"


@pytest.mark.parametrize(
    "requirement",
    [
        "torch>=99",
        "corekit-glow>=99",
        "corekit>=99; extra == 'docs'",
        "corekit @ https://example.org/corekit.whl",
        "corekit>=1!0.1",
        "",
        "corekit>=x",
    ],
)
def test_what_is_not_about_corekit_or_not_understood_is_not_judged(requirement):
    assert unmet([requirement], "corekit", "0.1.0") is None
    assert unmet([requirement, "corekit>=0.2"], "corekit", "0.1.0") == "corekit>=0.2"


def test_a_version_that_is_none_is_not_judged():
    assert unmet(["corekit>=99"], "corekit", "unknown") is None


def test_packaging_judges_the_same():
    versions = ["0.0.1", "0.1", "0.1.0", "0.2.1", "0.3", "0.3.0", "0.3.1", "0.10", "1", "1.4.5"]
    rng = random.Random(0)

    def clause():
        sign, version = rng.choice(["<", "<=", ">", ">=", "==", "!=", "~="]), rng.choice(versions)
        star = ".*" if sign in ("==", "!=") and rng.random() < 0.4 else ""
        return f"{sign}{version}.0" if sign == "~=" else f"{sign}{version}{star}"

    for _ in range(1000):
        requirement = "corekit" + ",".join(clause() for _ in range(rng.choice([1, 2, 3])))
        specifier = Requirement(requirement).specifier
        for version in versions:
            agreed = unmet([requirement], "corekit", version) is None
            assert agreed is specifier.contains(version), (requirement, version)
