"""What the environment leaves out is not imported, and a name that fits nothing is told."""

import pytest

from corekit.errors import PluginError, RegistryLookup
from corekit.registry.declaration import Plugin
from corekit.registry.selection import Selection

GOOD = """
from corekit.registry import Component, hookimpl

@hookimpl
def corekit_components():
    return [Component("bijector", "{0}.part", spec="fake_{0}:Spec", target="fake_{0}:Part",
                      summary="works")]
"""


@pytest.fixture
def three(fake_distribution, discovered):
    """Two good plugins and one that must not be imported: discover them in an environment."""
    fake_distribution("flows", GOOD.format("flows"))
    fake_distribution("nets", GOOD.format("nets"), distribution="Acme_Nets")
    fake_distribution("bomb", "raise SystemExit('imported')")
    return discovered


def statuses(found):
    return {plugin.name: plugin.status for plugin in found.plugins}


def test_only_what_is_listed_is_imported(three):
    found = three(COREKIT_PLUGINS=" flows, acme-nets ,")
    assert statuses(found) == {"flows": "ok", "nets": "ok", "bomb": "unlisted"}
    assert not found.problems
    assert {"flows.part", "nets.part"} <= set(found.names())


def test_what_is_disabled_is_not_imported_even_if_it_is_listed(three):
    found = three(COREKIT_PLUGINS="flows,bomb", COREKIT_DISABLE="corekit-bomb,acme.nets")
    assert statuses(found) == {"flows": "ok", "nets": "disabled", "bomb": "disabled"}


def test_naming_corekit_leaves_core_alone(three):
    found = three(COREKIT_PLUGINS="corekit")
    assert set(statuses(found).values()) == {"unlisted"}
    assert "chain" in found.names("bijector")


@pytest.mark.parametrize("text", ["", " , "])
def test_an_empty_list_is_no_list(three, text):
    found = three(COREKIT_PLUGINS=text, COREKIT_DISABLE="bomb")
    assert statuses(found) == {"flows": "ok", "nets": "ok", "bomb": "disabled"}


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {"COREKIT_PLUGINS": "flows"},
            "Its plugin corekit-bomb 0.2 is left out: COREKIT_PLUGINS does not name it.",
        ),
        (
            {"COREKIT_DISABLE": "bomb"},
            "Its plugin corekit-bomb 0.2 is switched off by COREKIT_DISABLE.",
        ),
        (
            {"COREKIT_DISABLE": "bomb", "COREKIT_PLUGINS": "flows"},
            "switched off by COREKIT_DISABLE",
        ),
    ],
)
def test_a_component_of_what_is_left_out_names_the_variable(three, environment, words):
    with pytest.raises(RegistryLookup) as e:
        three(**environment).component("bijector", "bomb.part")
    assert words in str(e.value)
    assert e.value.plugin_at_fault


@pytest.mark.parametrize(
    ("variable", "name", "advice"),
    [
        ("COREKIT_PLUGINS", "flow", "Did you mean 'flows'?"),
        ("COREKIT_PLUGINS", "acme-net", "Did you mean 'Acme_Nets'?"),
        ("COREKIT_PLUGINS", "zzz", "Installed: bomb, flows, nets."),
        ("COREKIT_PLUGINS", "glow", "corekit-glow, which is not installed: pip install corekit-gl"),
        ("COREKIT_PLUGINS", "corekit-glow", "not installed: pip install corekit-glow."),
        ("COREKIT_DISABLE", "flwos", "Did you mean 'flows'?"),
    ],
)
def test_a_name_that_no_plugin_has_is_told_with_the_nearest(three, variable, name, advice):
    environment = {"COREKIT_DISABLE": "bomb"} | {variable: f"{name},bomb"}
    if variable == "COREKIT_PLUGINS":
        environment[variable] = f"flows,{name}"
    with pytest.warns(UserWarning, match=f"{variable} must name .* got '{name}'") as caught:
        three(**environment)
    assert len(caught) == 1
    assert advice in str(caught[0].message)


def test_a_plugin_of_the_project_may_be_disabled_where_it_is_not_installed(three):
    assert three(COREKIT_DISABLE="bomb,glow,corekit-vae").plugins  # no warning


# -- strict --------------------------------------------------------------------------------------


def test_strict_raises_and_names_everything(three, fake_distribution):
    fake_distribution("vague", "x = 1")
    with pytest.raises(PluginError) as e:
        three(COREKIT_STRICT_PLUGINS="1", COREKIT_DISABLE="flwos")
    for words in ("corekit-bomb 0.2 failed to import: SystemExit", "corekit-vague 0.2", "'flwos'"):
        assert words in str(e.value)


def test_strict_does_not_overlook_a_misspelt_name(three):
    with pytest.raises(PluginError, match=r"got 'flwos'\. Did you mean 'flows'"):
        three(COREKIT_STRICT_PLUGINS="1", COREKIT_DISABLE="bomb,flwos")


def test_strict_is_content_where_nothing_is_wrong(three):
    found = three(COREKIT_STRICT_PLUGINS="1", COREKIT_DISABLE="bomb")
    assert statuses(found)["flows"] == "ok"


@pytest.mark.parametrize("text", ["", "0", "false", "No"])
def test_strict_may_be_switched_off_in_words(three, text):
    assert three(COREKIT_STRICT_PLUGINS=text).problems


def test_the_environment_is_read_once_into_plain_words():
    environment = {"COREKIT_PLUGINS": "a, b", "COREKIT_DISABLE": "c", "COREKIT_STRICT_PLUGINS": "1"}
    selection = Selection.from_environment(environment)
    assert selection == Selection(("a", "b"), ("c",), True)
    assert selection.status(Plugin("b", "corekit-b", "1")) == "ok"
