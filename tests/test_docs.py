"""The documentation runs: every example, every command, every name that it mentions."""

import argparse
import importlib.util
import inspect
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from corekit import errors
from corekit.cli.main import COMMANDS, main
from corekit.registry import Registry, registry, use_registry
from corekit.spec import check_spec, load_spec

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(page for page in ROOT.glob("docs/**/*.md") if "_build" not in page.parts),
    *sorted(ROOT.glob("plugins/*/README.md")),
    ROOT / "benchmarks" / "README.md",
    ROOT / "examples" / "README.md",
]
EXAMPLES = sorted([*ROOT.glob("plugins/*/examples/*.yaml"), *ROOT.glob("examples/*.yaml")])
RUN = {
    "plugins",
    "components",
    "show",
    "validate",
    "resolve",
    "new-plugin",
    "new-spec",
    "schema",
    "check-plugin",
}  # run, and their output compared
FENCE = re.compile(
    r"^(?:<!-- (?P<mark>not run|invalid): (?P<reason>.+?) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
NAMED_FILE = re.compile(r"# ([\w./-]+\.(?:py|yaml|toml))\n")


def name(path):
    return str(path.relative_to(ROOT))


@dataclass
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    mark: str | None
    line: int

    @property
    def file(self):
        """The file that the first line names, if it names one."""
        named = NAMED_FILE.match(self.text)
        return named[1] if named else None


def blocks(page):
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text"))
        yield Block(match["language"], match["text"], match["mark"], line)


# -- running a page -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run folder like that of `corekit demo`, of a few steps."""
    from corekit.train.trainer import Trainer

    sets = ["train.steps=2", "train.batch_size=4", "data.size=8", "data.held_out=2"]
    sets += ["data.points=32", "train.lr_schedule=constant", "model.encoder.latent_dim=8"]
    sets += ["model.decoder.schedule={type: ddpm.linear, steps: 25}", "train.device=cpu"]
    folder = tmp_path_factory.mktemp("trained") / "demo"
    demo = Path(sys.modules["corekit"].__file__).parent / "cli" / "demo.yaml"
    Trainer(load_spec(demo, sets).spec, folder, quiet=True).fit()
    return folder


@pytest.fixture
def workplace(tmp_path, monkeypatch, trained):
    """An empty folder with what the pages take for granted: data, a run, and a spec."""
    import h5py
    import numpy as np

    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "runs" / "demo")
    for path in ("shapes.h5", "data/shapenet.hdf5"):
        Path(path).parent.mkdir(exist_ok=True)
        with h5py.File(path, "w") as file:
            rows = np.random.default_rng(0).normal(size=(4, 64, 3)).astype("float32")
            for split in ("train", "val", "test"):
                file[f"airplane/{split}"] = rows
    readme = next(b for b in blocks(ROOT / "README.md") if b.file == "spec.yaml")
    Path("spec.yaml").write_text(readme.text)
    return tmp_path


class Page:
    """Runs the blocks of a page in their order, in one folder and one namespace."""

    def __init__(self, folder, monkeypatch, capsys):
        self.folder, self.monkeypatch, self.capsys = folder, monkeypatch, capsys
        self.names = {"__name__": "page"}
        self.registry = registry()

    def run(self, block):
        handler = getattr(self, f"_{block.language}", None)
        if handler is None or block.mark == "not run":
            return
        with use_registry(self.registry):
            handler(block)

    def _write(self, block):
        file = self.folder / block.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text, encoding="utf-8")
        return file

    def _python(self, block):
        if block.file:
            compile(block.text, str(self._write(block)), "exec")
        else:
            exec(compile(block.text, f"<line {block.line}>", "exec"), self.names)

    def _yaml(self, block):
        """A spec, or a part of one, which is laid on the README's."""
        text = block.text
        if "version" not in yaml.safe_load(text):
            text = f"extends: {self.folder}/spec.yaml\n{text}"
        file = self.folder / (block.file or "block.yaml")
        file.write_text(text, encoding="utf-8")
        if block.mark == "invalid":
            with pytest.raises(errors.SpecError):
                check_spec(load_spec(file))
        else:
            check_spec(load_spec(file))

    def _toml(self, block):
        self._write(block)

    def _install(self):
        """`pip install -e .`: what Python must see of the package, without the waiting."""
        text = Path("pyproject.toml").read_text()
        package = re.search(r'^name = "(.+)"', text, re.MULTILINE)[1]
        entry = re.search(r"^\[project.entry-points.corekit\]\n(?:#.*\n)*(.+)$", text, re.MULTILINE)
        info = Path("src") / f"{package.replace('-', '_')}-0.1.0.dist-info"
        info.mkdir()
        facts = f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1.0\n"
        (info / "METADATA").write_text(facts)
        (info / "entry_points.txt").write_text(f"[corekit]\n{entry[1].replace(chr(34), '')}\n")
        self.monkeypatch.syspath_prepend(str(Path("src").resolve()))

    def _console(self, block):
        commands = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
        assert not commands[0], f"line {block.line}: a console block must start with '$ '"
        for command in commands[1:]:
            line, _, output = command.partition("\n")
            self._command(line, output)

    def _command(self, line, output):
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(words[1:]) <= set(targets), line
        elif words[0] == ".ci/run":
            steps = {"lint", "types", "html", "packaging", "slow", "docs", "test", "all"}
            assert set(words[1:]) <= steps, line
        elif words[0] == "cd":
            self.folder = self.folder / words[1]
            self.monkeypatch.chdir(self.folder)
        elif words[:3] == ["pip", "install", "-e"]:
            self._install()
        elif words[0] == "pytest":
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
                env={"PATH": "", "PYTHONPATH": str(self.folder / "src")},
                check=False,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stdout
        elif words[0] in ("accelerate", "torchrun"):  # several processes: the arguments only
            self._corekit(line, words[words.index("corekit") + 1 :], output)
        elif words[0] == "corekit":
            self._corekit(line, words[1:], output)
        elif words[0] != "python":
            pytest.fail(f"the command is not known here: {line}")

    def _corekit(self, line, words, output):
        command = next(word for word in words if not word.startswith("-"))
        parser = argparse.ArgumentParser(prog=f"corekit {command}", exit_on_error=False)
        import_module(COMMANDS[command][0]).add_arguments(parser)
        try:
            parser.parse_args(words[words.index(command) + 1 :])
        except (SystemExit, argparse.ArgumentError) as error:
            pytest.fail(f"{line}: {error}")
        if command in RUN:
            self.registry = Registry.installed()  # a plugin may have been written by now
            with use_registry(self.registry):
                main(words)
            printed = self.capsys.readouterr()
            shown = [part.strip() for part in output.strip().split("...")]
            pattern = ".*".join(re.escape(part) for part in shown)
            if output.strip():
                got = (printed.err + printed.out).strip()
                assert re.fullmatch(pattern, got, re.DOTALL), f"{line} prints\n{got}"
            else:
                assert not printed.err, printed.err


LONG = {"docs/write-a-plugin.md"}  # half a minute: `make docs-test` and the slow suite run it


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=[pytest.mark.slow] if name(p) in LONG else []) for p in PAGES],
    ids=name,
)
def test_every_block_of_a_page_runs(page, workplace, monkeypatch, capsys):
    before = set(sys.modules)
    runner = Page(workplace, monkeypatch, capsys)
    for block in blocks(page):
        try:
            runner.run(block)
        except Exception as error:
            error.add_note(f"{name(page)}, line {block.line}") if hasattr(
                error, "add_note"
            ) else None
            raise
    for module in set(sys.modules) - before:
        if str(workplace) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


# -- what must be there ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def generate():
    """The module that writes the generated parts."""
    place = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def everything():
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def test_generated_parts_are_fresh(generate):
    assert [name(page) for page in generate.stale()] == [], "run `make docs`"


def test_every_component_is_described():
    page = (ROOT / "docs" / "components.md").read_text(encoding="utf-8")
    missing = [c for c in registry().components() if f"### {c.kind} `{c.name}`\n" not in page]
    assert missing == []


def test_every_command_has_a_section_with_its_options():
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"## {command}\n" in page
        assert f"<!-- generated: options of {command} -->" in page


def test_every_error_is_described():
    page = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass)]
    for error in classes:
        if issubclass(error, errors.CorekitError):
            assert re.search(rf"\| `{error.__name__}` \| {error.exit_code} \|", page), error


def test_every_test_that_is_named_exists(everything):
    named = re.findall(r"`([\w/-]+/test_\w+\.py)::(\w+)`", everything)
    assert len(named) > 10
    for file, function in named:
        path = ROOT / file
        assert path.is_file(), file
        assert f"def {function}(" in path.read_text(), f"{file}::{function}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        if re.match(r"https?:|mailto:", target):
            continue
        path = (page.parent / file) if file else page
        assert path.exists(), target
        if anchor and path.suffix == ".md":
            text = path.read_text(encoding="utf-8")
            titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
            assert anchor in {slug(title) for title in titles}, target


def slug(title):
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_block_is_left_out_for_a_reason_only(page):
    text = page.read_text(encoding="utf-8")
    marks = len(re.findall(r"^<!-- (?:not run|invalid)\b", text, re.MULTILINE))
    assert marks == sum(block.mark is not None for block in blocks(page)), "a mark without a block"


# -- examples -------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_an_example_is_valid_up_to_its_data_file(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = load_spec(example)
    data = loaded.spec.data
    for path in (getattr(part, "path", None) for part in (data, getattr(data, "of", None))):
        if path is None:
            continue
        with pytest.raises(errors.SpecError, match="path must name a file") as caught:
            check_spec(loaded)
        assert caught.value.exit_code == 5
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    check_spec(loaded)
