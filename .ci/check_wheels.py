"""Compare each wheel with the source tree: everything that belongs in it, and nothing else."""

import configparser
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def packages(pattern: str) -> dict[str, Path]:
    """The folders of packages, by the name of the package."""
    return {p.name: p for p in ROOT.glob(pattern) if p.is_dir()}


OURS = {"corekit": ROOT / "corekit", **packages("plugins/*/src/corekit_*")}
EXAMPLES = packages("examples/*/src/corekit_*")  # like those of third parties: not released


def source_files(package: Path) -> set[str]:
    """What a wheel of this package must hold, relative to the folder above the package."""
    files = (p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.relative_to(package.parent).as_posix() for p in files}


def problems(wheel: Path, known: dict[str, Path]) -> list[str]:
    """What is wrong with one wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        info = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    own = {name for name in names if not name.startswith(info)}
    (package,) = {name.partition("/")[0] for name in own} or {""}
    if package not in known:
        return [f"holds '{package}', not one of {', '.join(known)}"]
    wanted = source_files(known[package])
    found = [f"lacks {name}" for name in sorted(wanted - own)]
    found += [f"must not hold {name}" for name in sorted(own - wanted)]
    found += [f"must not hold a test, {n}" for n in sorted(own) if "test_" in n or "/tests/" in n]
    needed = {f"{package}/py.typed"}
    if package == "corekit":
        needed |= {"corekit/cli/demo.yaml", "corekit/templates/common/pyproject.toml.tmpl"}
    found += [f"lacks {name}" for name in sorted(needed - own)]
    if not any("LICENSE" in name for name in names):
        found.append("lacks the licence")
    parser = configparser.ConfigParser()
    parser.read_string(entry_points)
    group = "console_scripts" if package == "corekit" else "corekit"
    if group not in parser:
        found.append(f"lacks the entry points '{group}'")
    return list(dict.fromkeys(found))


def check(folder: Path, known: dict[str, Path]) -> tuple[int, list[str]]:
    """How many wheels a folder has, and what is wrong: there must be one of each package."""
    wheels = sorted(folder.glob("*.whl"))
    bad = [f"{wheel.name}: {problem}" for wheel in wheels for problem in problems(wheel, known)]
    missing = set(known) - {wheel.name.partition("-")[0] for wheel in wheels}
    return len(wheels), bad + [f"{folder}: lacks a wheel of {name}" for name in sorted(missing)]


def main(folder: str) -> int:
    """Check the wheels of our packages in a folder, and those of examples in `examples` below."""
    ours, bad = check(Path(folder), OURS)
    others, more = check(Path(folder, "examples"), EXAMPLES)
    print("\n".join(bad + more) or f"{ours} + {others} wheels hold what they must, and no more")
    return 1 if bad + more else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
