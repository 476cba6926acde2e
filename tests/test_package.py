"""The package itself is lazy, and its functions stay functions."""

import sys
from types import ModuleType

import pytest

import corekit


def test_an_unknown_attribute_is_refused_like_any_other():
    with pytest.raises(AttributeError, match="module 'corekit' has no attribute 'biuld'"):
        _ = corekit.biuld


def test_a_module_of_the_same_name_does_not_hide_a_function(monkeypatch):
    module = ModuleType("corekit.build")
    module.build = lambda spec: spec
    monkeypatch.setitem(sys.modules, "corekit.build", module)
    monkeypatch.setitem(vars(corekit), "build", None)  # afterwards it is what it was
    del vars(corekit)["build"]
    corekit.build = module  # what Python does after `import corekit.build`
    assert corekit.build("x") == "x"


def test_dir_lists_what_is_lazy():
    assert {"build", "load", "__version__"} <= set(dir(corekit))
