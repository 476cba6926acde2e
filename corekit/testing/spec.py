"""Checks of a component's spec, for every kind: what a spec file and an editor rely on."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from corekit.build import GIVEN
from corekit.registry import registry
from corekit.spec import Spec
from corekit.spec.parts import slot_kind
from corekit.testing.case import Case
from corekit.testing.check import CheckFailed, Suite, expect

SUITE = Suite()


def has_spec(case: Case) -> bool:
    """Once per component; not for a class that was handed over without one."""
    return case.first and case.spec is not None


def has_shape(case: Case) -> bool:
    """Whether the spec says, without torch, what the built part will make of its shapes."""
    return case.kind in ("bijector", "encoder") and _shape_of(case) is not None


@SUITE.check(has_spec)
def the_spec_equals_the_constructor(case: Case) -> None:
    """The constructor takes what the build gives it and every field, with the same defaults."""
    spec, target = _spec(case), registry().load_target(registry().component(case.kind, case.name))
    takes = inspect.signature(target).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    fields = {name: f for name, f in type(spec).model_fields.items() if name != "type"}
    given = GIVEN.get(case.kind, ())
    for name in (*given, *fields):
        expect(
            name in takes or anything,
            f"the constructor must take {name!r}, as "
            f"{'the build gives it' if name in given else 'its spec has it'}; it takes "
            f"{', '.join(takes)}.",
        )
    for name, parameter in takes.items():
        required = parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        )
        known = name in fields or name in given
        expect(known or not required, f"the spec must have a field {name!r}: it is required.")
        if name in fields and slot_kind(fields[name]) is None and not required:
            ours = fields[name].get_default(call_default_factory=True, validated_data={})
            expect(
                not fields[name].is_required() and _same(ours, parameter.default),
                f"the default of {name!r} must be that of the constructor, "
                f"{parameter.default!r}, got {ours!r} in the spec.",
            )


@SUITE.check(has_spec)
def the_spec_survives_json(case: Case) -> None:
    """Written as JSON and read again it is the same spec: a run folder keeps it so."""
    spec = _spec(case)
    for again in (
        type(spec).model_validate_json(spec.model_dump_json()),
        type(spec).model_validate(json.loads(json.dumps(spec.model_dump(mode="json")))),
    ):
        expect(again == spec, f"the spec must be {spec!r} after JSON, got {again!r}.")


@SUITE.check(has_spec)
def the_schema_can_be_written(case: Case) -> None:
    """Editors get a JSON Schema of it: every reference in it leads somewhere."""
    schema = type(_spec(case)).model_json_schema()
    defined = {f"#/$defs/{name}" for name in schema.get("$defs", {})}
    lost = sorted(set(_references(json.loads(json.dumps(schema)))) - defined)
    expect(not lost, f"every $ref of the schema must be defined, got {', '.join(lost)}.")


@SUITE.check(has_spec)
def every_field_is_described(case: Case) -> None:
    """The component has a summary, spec and class have docstrings, each field a description."""
    spec, declared = type(_spec(case)), registry().component(case.kind, case.name)
    expect(bool(declared.summary.strip()), "the declaration must have a summary, got none.")
    for what, thing in (("spec class", spec), ("class", registry().load_target(declared))):
        own = thing.__doc__ if isinstance(thing, type) else inspect.getdoc(thing)
        expect(bool(own), f"the {what} must have a docstring of its own, got none.")
    bare = [n for n, f in spec.model_fields.items() if n != "type" and not f.description]
    expect(not bare, f"every field must have a description, got none for {', '.join(bare)}.")


@SUITE.check(has_spec)
def unknown_keys_are_refused(case: Case) -> None:
    """A key that is no field is a mistake, not ignored."""
    spec = _spec(case)
    try:
        type(spec).model_validate({**spec.model_dump(mode="json"), "no_such_field": 1})
    except ValidationError:
        return
    raise CheckFailed("a key that is no field must be refused, but it was accepted.")


@SUITE.check(has_spec)
def the_declaration_and_the_spec_import_no_torch(case: Case) -> None:
    """`corekit plugins` and `corekit validate` stay fast: no torch before a build."""
    module = registry().component(case.kind, case.name).spec.partition(":")[0]
    expect(
        not _imports_torch(module),
        f"importing {module} must not import torch, but it does. Import torch in the module of "
        "the class only.",
    )


@SUITE.check(has_shape)
def the_shape_is_known_without_torch(case: Case) -> None:
    """``shape`` of the spec is the latent shape of what is built."""
    known, built = tuple(_shape_of(case)), tuple(case.part.latent_shape)
    expect(
        known == built,
        f"shape() of the spec must be what the built part has, {built}, got {known}.",
    )


def _shape_of(case: Case) -> Any:
    return None if case.spec is None else case.spec.shape(**case.given)


def _spec(case: Case) -> Spec:
    if case.spec is None:
        raise CheckFailed("there is no spec")
    return case.spec


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return list(a) == list(b)
    return isinstance(a, bool) is isinstance(b, bool) and bool(a == b)


def _references(schema: Any) -> list[str]:
    if isinstance(schema, Mapping):
        own = [v for k, v in schema.items() if k == "$ref" and isinstance(v, str)]
        return own + [r for value in schema.values() for r in _references(value)]
    return [r for value in schema for r in _references(value)] if isinstance(schema, list) else []


@lru_cache
def _imports_torch(module: str) -> bool:
    """Whether a fresh Python has torch after importing a module."""
    code = (
        "import importlib, sys; importlib.import_module(sys.argv[1]); print('torch' in sys.modules)"
    )
    paths = "import sys; sys.path[:] = eval(sys.argv.pop()); "
    done = subprocess.run(
        [sys.executable, "-c", paths + code, module, repr(sys.path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CheckFailed(f"{module} must be importable, got {done.stderr.strip()[-300:]}")
    return done.stdout.strip().endswith("True")
