"""The registry finds what works, keeps what does not, and says what to do."""

import pytest

from corekit.errors import PluginError, RegistryLookup
from corekit.registry import FIRST_PARTY, Component, Registry, registry, use_registry

GOOD = """
from corekit.registry import Component, hookimpl

@hookimpl
def corekit_components():
    return [Component("bijector", "{plugin}.part", spec="{module}:Spec", target="{module}:Part",
                      summary="works")]
"""


def good(plugin):
    return GOOD.format(plugin=plugin, module=f"fake_{plugin}")


def part(name="toy.part", kind="bijector", **more):
    return Component(kind, name, **{"spec": "m:S", "target": "m:T", "summary": "", **more})


# -- discovery -----------------------------------------------------------------------------------

BROKEN = {
    "import": ("import einops_not_there", "No module named 'einops_not_there'"),
    "exit": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "major": ("API = '2.0'", "plugin API 2.0, this corekit 1.0. Update corekit"),
    "minor": ("API = '1.7'", "plugin API 1.7"),
    "nonsense": ("API = 'new'", "API must be like '1.0', got 'new'"),
    "hook": (
        "from corekit.registry import hookimpl\n@hookimpl\ndef corekit_component(): return []",
        "no hook 'corekit_component'. Did you mean 'corekit_components'",
    ),
    "argument": (
        "from corekit.registry import hookimpl\n@hookimpl\ndef corekit_components(x): return []",
        "can not be found in the hookspec",
    ),
    "unmarked": ("def corekit_components(): return []", "lacks @hookimpl"),
    "nothing": ("x = 1", "no function corekit_components"),
    "raises": (
        "from corekit.registry import hookimpl\n@hookimpl\ndef corekit_components(): return 1 / 0",
        "ZeroDivisionError",
    ),
    "none": (
        "from corekit.registry import hookimpl\n@hookimpl\ndef corekit_components(): pass",
        "must return a list of Component, got NoneType",
    ),
    "strings": (
        "from corekit.registry import hookimpl\n@hookimpl\ndef corekit_components(): return ['a']",
        "must return a list of Component, got 'a' in it",
    ),
    "foreign": (good("other"), "bijector 'other.part' must start with 'foreign.'"),
    "kind": (
        good("kind").replace('"bijector"', '"bijetor"'),
        "got 'bijetor'. Did you mean 'bijector'?",
    ),
}
STAGES = {
    "import": "import",
    "exit": "import",
    "major": "api",
    "minor": "api",
    "nonsense": "api",
    "hook": "register",
    "argument": "register",
    "unmarked": "register",
    "nothing": "register",
    "foreign": "namespace",
}


def test_broken_plugins_are_kept_as_problems_and_the_good_one_works(fake_distribution, discovered):
    fake_distribution("good", good("good"))
    for plugin, (body, _) in BROKEN.items():
        fake_distribution(plugin, body)
    found = discovered()
    assert "good.part" in found.names("bijector")
    problems = {problem.plugin: problem for problem in found.problems}
    assert set(problems) == set(BROKEN)
    for plugin, (_, words) in BROKEN.items():
        assert words in str(problems[plugin])
        assert f"corekit-{plugin} 0.2" in str(problems[plugin])
        assert problems[plugin].stage == STAGES.get(plugin, "declare")
    statuses = {plugin.name: plugin.status for plugin in found.plugins}
    assert statuses["good"] == "ok"
    assert statuses["import"] == "failed"
    assert statuses["foreign"] == "partial"


def test_two_distributions_of_one_plugin_name_are_both_refused(fake_distribution, discovered):
    fake_distribution("twin", good("twin"), distribution="corekit-twin-a")
    fake_distribution("twin", "raise RuntimeError('imported')", distribution="corekit-twin-b")
    found = discovered()
    assert [problem.distribution for problem in found.problems] == [
        "corekit-twin-a",
        "corekit-twin-b",
    ]
    assert {problem.stage for problem in found.problems} == {"conflict"}
    with pytest.raises(RegistryLookup, match=r"corekit-twin-a 0\.2 and corekit-twin-b 0\.2") as e:
        found.component("bijector", "twin.part")
    assert e.value.plugin_at_fault


def test_disabling_one_of_two_lets_the_other_work(fake_distribution, discovered):
    fake_distribution("twin", good("twin"), distribution="corekit-twin-a", module="fake_twin")
    fake_distribution("twin", "raise OSError", distribution="corekit-twin-b", module="fake_other")
    found = discovered(COREKIT_DISABLE="corekit-twin-b")
    assert found.component("bijector", "twin.part").summary == "works"
    assert not found.problems


def test_a_disabled_plugin_is_not_imported(fake_distribution, discovered):
    fake_distribution("glow", "raise SystemExit('imported')")
    found = discovered(COREKIT_DISABLE="vae, glow")
    assert not found.problems
    assert [plugin.status for plugin in found.plugins] == ["disabled"]
    with pytest.raises(RegistryLookup, match="switched off by COREKIT_DISABLE") as e:
        found.component("bijector", "glow.part")
    assert e.value.plugin_at_fault


def test_a_component_declared_twice_is_not_used(fake_distribution, discovered):
    twice = good("twice").replace("return [", "return 2 * [")
    fake_distribution("twice", twice)
    found = discovered()
    assert "declared 2 times" in str(found.problems[0])
    assert "twice.part" not in found.names()


def test_a_distribution_without_metadata_still_loads(fake_distribution, discovered, site):
    fake_distribution("bare", good("bare"))
    next(site.glob("*.dist-info/METADATA")).unlink()
    assert "bare.part" in discovered().names()


# -- lookup --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words", "at_fault"),
    [
        (
            "chian",
            r"No bijector named 'chian'\. Did you mean 'chain'\? Installed: ",
            False,
        ),
        ("part", r"Did you mean 'toy\.part'\?", False),
        ("toy.prat", r"Did you mean 'toy\.part'\?", False),
        ("normal", r"Of that name there is: prior\.", False),
        ("acme.part", r"No plugin 'acme' is installed", True),
        ("toi.part", r"No plugin 'toi' is installed\. Did you mean 'toy\.part'", False),
        ("glow.actnorm", r"not installed: pip install corekit-glow\.", True),
        ("ddpm.linear", r"not installed: pip install corekit-ddpm-improved\.", True),
    ],
)
def test_a_missing_component_says_what_to_do(name, words, at_fault):
    registry = Registry()
    registry.register(part())
    with pytest.raises(RegistryLookup, match=words) as e:
        registry.component("bijector", name)
    assert e.value.plugin_at_fault is at_fault
    assert e.value.exit_code == 4


def test_a_broken_plugin_is_quoted_when_a_component_of_it_is_missing(fake_distribution, discovered):
    fake_distribution("glow", "import einops_not_there")
    words = r"corekit-glow 0\.2 failed to import: ModuleNotFoundError: No module named 'einops_not"
    with pytest.raises(RegistryLookup, match=words) as e:
        discovered().component("bijector", "glow.actnorm")
    assert e.value.plugin_at_fault
    assert "pip install" not in str(e.value)


def test_a_long_list_of_names_is_cut():
    registry = Registry()
    registry.register(*(part(f"toy.p{i}") for i in range(50)))
    with pytest.raises(RegistryLookup, match=r"… \(see `corekit components bijector`\)") as e:
        registry.component("bijector", "zzz")
    assert "toy.p49" not in str(e.value)


def test_two_owners_of_a_component_are_both_named_and_neither_is_used():
    registry = Registry()
    registry.register(part(), distribution="first", version="1")
    registry.register(part(), distribution="second", version="2")
    with pytest.raises(RegistryLookup, match="provided by first 1 and second 2, so none is used"):
        registry.component("bijector", "toy.part")
    assert "toy.part" not in registry.names()
    assert [problem.distribution for problem in registry.problems] == ["first", "second"]


def test_registering_again_replaces():
    registry = Registry()
    registry.register(part(summary="old"))
    registry.register(part(summary="new"))
    assert registry.component("bijector", "toy.part").summary == "new"
    assert not registry.problems


def test_one_name_may_be_of_several_kinds():
    kinds = {c.kind for c in Registry().components() if c.name == "diffusion"}
    assert kinds == {"model", "prior", "decoder"}


def test_provenance_names_distribution_version_and_api():
    registry = Registry()
    registry.register(part(), distribution="corekit-toy", version="0.3")
    assert registry.provenance(part()) == {
        "kind": "bijector",
        "name": "toy.part",
        "distribution": "corekit-toy",
        "version": "0.3",
        "api": "1.0",
    }


def test_the_registry_can_be_replaced_for_a_while():
    outer, inner = Registry(), Registry()
    with use_registry(outer):
        with use_registry(inner):
            assert registry() is inner
        assert registry() is outer


def test_the_registry_is_put_back_after_an_error():
    before = registry()
    with pytest.raises(RegistryLookup), use_registry(Registry()) as inner:
        inner.component("bijector", "nothing")
    assert registry() is before


# -- importing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no_such_module_at_all:X", "No module named 'no_such_module_at_all'"),
        ("toy_specs:Missing", "has no attribute 'Missing'"),
        ("fake_exit:X", "SystemExit: 1"),
    ],
)
def test_what_cannot_be_imported_is_blamed_on_its_distribution(target, words, site, monkeypatch):
    (site / "fake_exit.py").write_text("raise SystemExit(1)")
    monkeypatch.syspath_prepend(str(site))
    registry = Registry()
    component = part(target=target)
    registry.register(component, distribution="corekit-toy", version="0.3")
    with pytest.raises(PluginError, match=r"corekit-toy 0\.3: bijector 'toy\.part'") as e:
        registry.load_target(component)
    assert words in str(e.value)
    assert e.value.__cause__ is not None


def test_every_core_spec_is_of_the_name_it_is_declared_under():
    registry = Registry()
    for component in registry.components():
        spec = registry.load_spec(component)
        assert spec.model_fields["type"].default == component.name
        assert "." not in component.name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "Bijector"}, "kind must be a lower-case word like 'bijector', got 'Bijector'"),
        ({"kind": "bijectors"}, "Did you mean 'bijector'"),
        ({"name": "Toy.Part"}, "name must be lower-case"),
        ({"spec": "toy_specs"}, "spec must be 'module:Class', got 'toy_specs'"),
        ({"target": 3}, "target must be 'module:attribute', got 3"),
    ],
)
def test_a_component_is_checked_when_declared(change, words):
    with pytest.raises(ValueError, match=words):
        part(**change)


def test_a_package_may_add_a_kind_of_its_own():
    assert part(kind="tokenizer").kind == "tokenizer"


def test_the_pip_lines_are_those_of_the_project():
    assert FIRST_PARTY["pointcloud"] == "corekit-pointcloud-diffusion"
