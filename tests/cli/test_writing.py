"""The commands that write a schema and a spec to start from."""

import json
from pathlib import Path

import pytest

from corekit.cli.main import main

pytestmark = pytest.mark.usefixtures("toys")


@pytest.fixture
def corekit(capsys, write):
    """Run a command in this process, in an empty folder: exit code, output, errors."""
    write("")

    def run(*arguments):
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_schema_prints_and_writes_and_tells_the_editor(corekit):
    code, out, err = corekit("schema")
    assert code == 0
    assert json.loads(out)["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert "warning: metric 'toy.renamed' is left out: " in err
    code, written, _ = corekit("schema", "--out", "schemas/corekit.json")
    assert code == 0
    assert json.loads(Path("schemas/corekit.json").read_text()) == json.loads(out)
    assert "# yaml-language-server: $schema=corekit.json\nschemas/corekit.json\n" in written


def test_schema_of_one_kind(corekit):
    assert json.loads(corekit("schema", "--kind", "prior")[1])["title"] == "prior"
    code, _, err = corekit("schema", "--kind", "prio")
    assert code == 2
    assert "must be a kind with a component, got 'prio'. There are: " in err


def test_schema_that_cannot_be_written(corekit, write):
    write("", "folder")
    code, _, err = corekit("schema", "--out", "folder/x.json")
    assert code == 2
    assert "--out: the file must be writable" in err


def test_new_spec_writes_what_validate_takes(corekit):
    code, out, _ = corekit("new-spec", "--out", "new/mine.yaml")
    assert code == 0
    assert out.endswith("new/mine.yaml\n")
    assert "corekit train mine.yaml" in Path("new/mine.yaml").read_text()
    assert corekit("validate", "new/mine.yaml")[0] == 0
    code, _, err = corekit("new-spec", "--out", "new/mine.yaml")
    assert code == 2
    assert "must be a new one, got new/mine.yaml" in err


def test_new_spec_prints_and_says_what_is_left_to_do(corekit):
    code, out, err = corekit("new-spec", "--data", "toy.file", "--set", "train.steps=7")
    assert code == 0
    assert "of: [coupling, {type: coupling, swap: true}]" in out
    assert "path: <path>" in out
    assert err.startswith("to do: data: toy.file: path must be a file, got '<path>'")
