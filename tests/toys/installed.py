"""Make a package on disk look installed, as `pip install -e` does, without pip."""

import os
import re
import subprocess
import sys


def install(package, site):
    """Write the metadata of a package into `site`; returns the folder of its modules."""
    project = (package / "pyproject.toml").read_text(encoding="utf-8")
    name = re.search(r'^name = "(.+)"', project, re.MULTILINE)[1]
    version = re.search(r'^version = "(.+)"', project, re.MULTILINE)[1]
    entry = re.search(r"^\[project.entry-points.corekit\]\n(.+)$", project, re.MULTILINE)[1]
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    facts = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (info / "METADATA").write_text(facts)
    (info / "entry_points.txt").write_text(f"[corekit]\n{entry.replace(chr(34), '')}\n")
    return package / "src"


def python(*arguments, cwd, path):
    """Run Python in a process of its own, with folders on its path."""
    path = [*map(str, path), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
