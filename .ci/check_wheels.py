"""Compare each wheel with the source tree: everything that belongs in it, and nothing else."""

import configparser
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "corekit": ROOT / "corekit",
    **{p.name: p for p in ROOT.glob("plugins/*/src/corekit_*") if p.is_dir()},
}


def source_files(package: Path) -> set[str]:
    """What a wheel of this package must hold, relative to the folder above the package."""
    files = (p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.relative_to(package.parent).as_posix() for p in files}


def problems(wheel: Path) -> list[str]:
    """What is wrong with one wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        info = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    own = {name for name in names if not name.startswith(info)}
    (package,) = {name.partition("/")[0] for name in own} or {""}
    if package not in PACKAGES:
        return [f"holds '{package}', not one of {', '.join(PACKAGES)}"]
    wanted = source_files(PACKAGES[package])
    found = [f"lacks {name}" for name in sorted(wanted - own)]
    found += [f"must not hold {name}" for name in sorted(own - wanted)]
    found += [f"must not hold a test, {n}" for n in sorted(own) if "test_" in n or "/tests/" in n]
    needed = {f"{package}/py.typed"}
    needed |= {"corekit/cli/demo.yaml"} if package == "corekit" else set()
    found += [f"lacks {name}" for name in sorted(needed - own)]
    if not any("LICENSE" in name for name in names):
        found.append("lacks the licence")
    parser = configparser.ConfigParser()
    parser.read_string(entry_points)
    group = "console_scripts" if package == "corekit" else "corekit"
    if group not in parser:
        found.append(f"lacks the entry points '{group}'")
    return list(dict.fromkeys(found))


def main(folder: str) -> int:
    """Check every wheel of a folder; there must be one of each package."""
    wheels = sorted(Path(folder).glob("*.whl"))
    bad = [f"{wheel.name}: {problem}" for wheel in wheels for problem in problems(wheel)]
    missing = set(PACKAGES) - {wheel.name.partition("-")[0] for wheel in wheels}
    bad += [f"{folder}: lacks a wheel of {name}" for name in sorted(missing)]
    print("\n".join(bad) or f"{len(wheels)} wheels hold what they must and nothing else")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
