"""A protocol tells everything that it knows, and a bar how far the work is."""

import dataclasses
import io
import sys

import pytest

from corekit.metrics.progress import bar, watched
from corekit.metrics.protocol import Protocol


def test_a_stamp_has_all_that_is_known():
    protocol = Protocol("EMD", "shape_bbox", 512, 20, 10, 100, 3, "exact", {"subsets": 4})
    assert protocol.stamp(sd=0.5, nothing=None) == {
        "distance": "EMD",
        "normalise": "shape_bbox",
        "points": 512,
        "samples": 20,
        "reference": 10,
        "train": 100,
        "seed": 3,
        "emd": "exact",
        "subsets": 4,
        "sd": 0.5,
    }
    plain = Protocol("Chamfer", "none", (5, 6), 1, 2, 3)
    assert not {"emd", "seed"} & set(plain.stamp())
    with pytest.raises(dataclasses.FrozenInstanceError):
        plain.seed = 1


def test_the_bar_tells_what_is_left():
    line = bar(15, 60, "rows", 100.0)
    assert line.startswith("rows " + "█" * 7 + "·" * 23)
    assert line.endswith("15/60  5:00 left")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_drawn_on_a_terminal_only(monkeypatch):
    monkeypatch.setattr("corekit.metrics.progress._EVERY", -1.0)
    for stream, lines in ((Terminal(), 3), (io.StringIO(), 0)):
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(watched([4, 5, 6], 3, "rows")) == [4, 5, 6]
        assert stream.getvalue().count("rows") == lines
        assert stream.getvalue().endswith("\r\x1b[K" if lines else "")
