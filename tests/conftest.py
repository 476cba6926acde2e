"""What tests share: a toy plugin, spec files, and fake distributions."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

TOYS = Path(__file__).parent / "toys"


@pytest.fixture
def toys():
    """A registry of core and the toy plugin, in use; whatever is installed stays out."""
    import toy_plugin

    from corekit.registry import Registry, use_registry

    registry = Registry()
    registry.register(*toy_plugin.corekit_components(), distribution="corekit-toy", version="0.3")
    with use_registry(registry):
        yield registry


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file in an empty working directory; returns its name."""
    monkeypatch.chdir(tmp_path)

    def write_file(text, name="spec.yaml"):
        (tmp_path / name).write_text(dedent(text), encoding="utf-8")
        return name

    return write_file


@pytest.fixture
def site(tmp_path):
    """An empty folder for fake distributions."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def fake_distribution(site):
    """Install a distribution in `site`: metadata, one entry point, and its module."""

    def install(plugin, body, *, distribution=None, module=None, version="0.2", requires=()):
        distribution = distribution or f"corekit-{plugin}"
        module = module or f"fake_{plugin}"
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        facts = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        facts += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
        (info / "METADATA").write_text(facts)
        (info / "entry_points.txt").write_text(f"[corekit]\n{plugin} = {module}\n")
        (site / f"{module}.py").write_text(dedent(body))

    return install


@pytest.fixture
def discovered(site, monkeypatch):
    """Look for plugins in `site`, and there only."""

    def discover(**environment):
        from importlib.metadata import distributions

        from corekit.registry import Registry, discovery

        def entry_points(group):
            found = distributions(path=[str(site)])
            return [entry for dist in found for entry in dist.entry_points if entry.group == group]

        for name in [name for name in sys.modules if name.startswith("fake_")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(discovery, "entry_points", entry_points)
        monkeypatch.syspath_prepend(str(site))
        for name in ("COREKIT_DISABLE", "COREKIT_PLUGINS", "COREKIT_STRICT_PLUGINS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return Registry.installed()

    return discover


@pytest.fixture
def python(site):
    """Run Python in a process of its own, with `site` and the toys importable."""

    def run(*arguments, **environment):
        path = os.pathsep.join(filter(None, [str(site), str(TOYS), os.environ.get("PYTHONPATH")]))
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": path, **environment},
        )

    return run
