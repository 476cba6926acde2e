"""A checkpoint's components against the installed ones: what cannot be, may differ, is noted."""

import json
import warnings

import pytest

from corekit.checkpoint.provenance import check_provenance
from corekit.errors import CheckpointError, PluginError
from corekit.registry import Component, Registry, use_registry
from corekit.registry.declaration import Plugin
from corekit.registry.origins import LEVELS, compare, severity


def part(name="toy.part", **more):
    return Component("bijector", name, **{"spec": "m:S", "target": "m:T", "summary": "", **more})


def origin(name="toy.part", distribution="corekit-toy", version="1.4.0"):
    return {
        "kind": "bijector",
        "name": name,
        "distribution": distribution,
        "version": version,
        "api": "1.0",
    }


def installed(version="1.4.0", distribution="corekit-toy", names=("toy.part", "toy.other")):
    found = Registry()
    found.register(*map(part, names), distribution=distribution, version=version)
    found._plugins.append(Plugin("toy", distribution, version))
    return found


@pytest.mark.parametrize(
    ("then", "now", "level"),
    [
        ("1.4.0", "1.4.0", None),
        ("1.4.0", "1.4.7", None),
        ("1.4", "1.4.0", None),
        ("1.4.0", "1.5.0", "note"),
        ("1.4.0", "1.3.0", "note"),
        ("1.4.0", "2.4.0", "warning"),
        ("2.0.0", "1.9.0", "warning"),
        ("0.1.0", "0.1.3", None),
        ("0.1.0", "0.2.0", "warning"),
        ("0.9.0", "1.0.0", "warning"),
        ("0.2.0.dev1", "0.2.0", None),
        ("?", "1.0", "warning"),
        ("?", "?", None),
    ],
)
def test_the_level_of_another_version(then, now, level):
    assert severity("corekit-toy", then, "corekit-toy", now) == level
    found = compare([origin(version=then)], installed(now))
    assert [finding.level for finding in found] == ([level] if level else [])


def test_a_missing_component_is_an_error_with_the_line_that_brings_it():
    (finding,) = compare([origin("acme.part", "corekit-acme", "0.2")], Registry())
    assert finding.level == "error"
    assert finding.message.startswith("needs the bijector 'acme.part' of corekit-acme 0.2.")
    assert finding.message.endswith("To load it: pip install corekit-acme")
    (finding,) = compare([origin("glow.actnorm", "corekit-glow", "0.2")], Registry())
    assert finding.message.count("pip install corekit-glow") == 1


def test_a_component_that_only_another_version_has_is_an_error_that_names_it():
    (finding,) = compare([origin("toy.new", version="1.6.0")], installed())
    assert finding.level == "error"
    assert finding.message.endswith("Version 1.4.0 is here: pip install 'corekit-toy~=1.6'")
    (finding,) = compare([origin("newer", "corekit", "7.2.0")], Registry())
    assert finding.message.endswith("is here: pip install 'corekit~=7.2'")


def test_installing_is_no_advice_where_the_plugin_is_there_but_broken():
    (finding,) = compare([origin("toy.gone", version="1.4.0")], installed())
    assert finding.level == "error"
    assert "pip" not in finding.message


def test_another_distribution_is_a_warning():
    (finding,) = compare([origin()], installed(distribution="corekit-fork"))
    assert str(finding) == (
        "warning: made with corekit-toy 1.4.0, corekit-fork 1.4.0 is here, which may compute"
        " something else: pip install 'corekit-toy~=1.4' (bijector 'toy.part')"
    )


def test_before_version_one_the_line_keeps_the_minor_number():
    (finding,) = compare([origin(version="0.3.2")], installed("0.4.0"))
    assert "pip install 'corekit-toy~=0.3.0'" in finding.message


def test_one_line_for_all_components_of_a_package_and_the_worst_first():
    stored = [
        origin("local.one", "local", "0"),
        origin("toy.part", version="2.0.0"),
        origin("toy.other", version="2.0.0"),
        origin("acme.part", "corekit-acme"),
    ]
    found = installed()
    found.register(part("local.one"))
    findings = compare(stored, found)
    assert [finding.level for finding in findings] == list(LEVELS)
    assert "(bijector 'toy.part', bijector 'toy.other')" in findings[1].message
    assert "code that no package versions" in findings[2].message


# -- loading -------------------------------------------------------------------------------------


def write_provenance(folder, *components):
    (folder / "provenance.json").write_text(json.dumps({"components": components}))
    return folder


def test_loading_raises_all_errors_at_once(tmp_path):
    folder = write_provenance(tmp_path, origin("a.part", "dist-a"), origin("b.part", "dist-b"))
    with use_registry(installed()), pytest.raises(PluginError) as e:
        check_provenance(folder)
    assert "pip install dist-a" in str(e.value)
    assert "pip install dist-b" in str(e.value)


def test_loading_warns_and_keeps_notes_to_itself(tmp_path):
    with use_registry(installed()):
        with pytest.warns(UserWarning, match=r"made with corekit-toy 2\.0\.0"):
            check_provenance(write_provenance(tmp_path, origin(version="2.0.0")))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_provenance(write_provenance(tmp_path, origin(version="1.9.0")))


def test_provenance_that_is_damaged_is_told(tmp_path):
    (tmp_path / "provenance.json").write_text("{")
    with pytest.raises(CheckpointError, match="must be readable JSON"):
        check_provenance(tmp_path)
