"""Text files with columns of numbers."""

import gzip
import hashlib

import numpy as np
import pytest

from corekit.data.csv_table import Csv
from corekit.errors import DataError

TEXT = 'width,"the height",kind\n0.5,1e2,chair\n1.5,-2,table\n2.5,3,chair\n'


@pytest.fixture
def write(tmp_path):
    def write_text(text, name="a.csv"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        return path

    return write_text


def rows(data, split="train"):
    examples = data.split(split)
    return [examples.get(i, np.random.default_rng(0)).x.tolist() for i in range(len(examples))]


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.csv.gz"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_of_numbers_are_read(write, name, delimiter):
    data = Csv(write(TEXT.replace(",", delimiter), name), held_out=0)
    assert data.columns == ("width", "the height")
    assert rows(data) == [[0.5, 100], [1.5, -2], [2.5, 3]]
    assert data.data_spec.event_shape == (2,)


def test_names_are_not_needed_and_a_byte_order_mark_does_no_harm(write):
    data = Csv(write("\ufeff1,2\n3,4\n5,6\n"), columns=["1"], held_out=0)
    assert rows(data) == [[2], [4], [6]]


def test_one_column_becomes_labels_in_the_order_of_names(write):
    data = Csv(write(TEXT), labels="kind", columns=["the height"], held_out=0)
    assert data.classes == ("chair", "table")
    train = data.split("train")
    labels = [train.get(i, np.random.default_rng(0)).condition.labels.item() for i in range(3)]
    assert labels == [0, 1, 0]
    numbers = Csv(write(TEXT), labels="width", held_out=0)
    assert numbers.columns == ("the height",)
    assert numbers.classes == ("0.5", "1.5", "2.5")


def test_a_share_is_held_out_and_the_file_is_recorded(write):
    path = write("".join(f"{i}\n" for i in range(50)))
    data = Csv(path, licence="CC0")
    assert [len(data.split(s)) for s in data.splits] == [40, 5, 5]
    assert sorted(row for s in data.splits for row in rows(data, s)) == [[i] for i in range(50)]
    facts = data.describe()
    assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (facts["licence"], facts["columns"]) == ("CC0", ["0"])


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("a,b\n1,2\n3,\n", {}, r"column a, b must hold a number in every line: .* row 1"),
        ("a,b\n1,2\n3,x\n", {}, r"'x'"),
        ("a,b\n1,2\n", {"columns": ["c"]}, r"column must be one of a, b, got 'c'"),
        ("a\nx\ny\n", {}, r"must have a column of numbers"),
        ("a,b\n1\n", {}, r"(?s)one example per line.*have 2 and 1 columns"),
        ("", {}, r"(?s)one example per line"),
        ("a\n1\nnan\n3\n", {"held_out": 0}, r"row 1 must hold finite numbers, got nan"),
    ],
)
def test_gaps_and_other_files_are_refused(write, text, options, words):
    with pytest.raises(DataError, match=words):
        rows(Csv(write(text), **options))


def test_a_missing_or_binary_file_is_refused(tmp_path, write):
    with pytest.raises(DataError, match="Found no file"):
        Csv(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x80" * 9)
    with pytest.raises(DataError, match="cannot be read"):
        Csv(tmp_path / "b.csv")
