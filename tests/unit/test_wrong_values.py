"""Wrong values in every field of every document: told with file or override, key and remedy, at once, no traceback.

The fields are found by walking the models of recipes, targets, each family's knobs and each backend's options.
"""

from __future__ import annotations

import copy
import json
import os
import time
import types
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from gen3dexport import backends, models
from gen3dexport.documents import recipe as recipes
from gen3dexport.documents.json_file import read_json
from gen3dexport.documents.recipe import Recipe, Vocabulary
from gen3dexport.documents.shipped import documents
from gen3dexport.documents.target import Target
from gen3dexport.errors import UsageError
from gen3dexport.plan import read_recipe, read_target

LONGEST = 10.0  # seconds of CPU time
"""What reading one wrong document may take."""

NEVER: dict[str, str] = {
    "inf": ".inf",
    "nan": ".nan",
    "nul": '"a\\0b"',
    "digits": "9" * 5000,
    "64 bits": str(2**64),
    "date": "2026-11-28",
    "tag": "!thing a",
    "bytes": "!!binary aGk=",
    "keys": "{1: a}",
}
"""What no field may hold, as YAML."""

WRONG: dict[type, tuple[str, ...]] = {
    str: ("5", "[a]", "{a: b}", "true"),
    int: ("many", "[1]", "{a: 1}", "1.5", "true"),
    float: ("many", "[1]", "{a: 1}", "true"),
    bool: ("perhaps", "[true]", "7", "{a: true}"),
    tuple: ("5", "{a: b}", "word"),
    dict: ("5", "[1]", "word", "[a: b]"),
    BaseModel: ("5", "[1]", "word", "{no_such_key: 1}"),
    type(None): ("no such word", "[]", "5.5"),  # of a literal
}
"""What a field of that type may not hold, as YAML."""

NUMBERS: dict[type, str] = {int: "5"}
"""What a field that takes a tuple may hold where it takes a number of that type, too."""


def _fields(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, type]]:
    """(dotted path, kind of value) of every field, also inside other models; of dictionaries under the key `any`."""
    for name, field in model.model_fields.items():
        yield from _kinds(field.annotation, above + (field.alias or name))


def _kinds(annotation: Any, path: str) -> Iterator[tuple[str, type]]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        for one in inner:
            if one is not type(None):
                yield from _kinds(one, path)
    elif origin is Literal:
        yield path, type(None)
    elif origin is not None and issubclass(origin, dict | Mapping):
        yield path, dict
        yield from _kinds(inner[1], f"{path}.any")
    elif origin is tuple:
        yield path, tuple
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield path, BaseModel
        yield from _fields(annotation, f"{path}.")
    elif annotation in WRONG:
        yield path, annotation
    elif getattr(annotation, "__metadata__", None):
        yield from _kinds(annotation.__origin__, path)


def _cases(fields: Iterator[tuple[str, type]]) -> list[tuple[str, str]]:
    every = list(fields)
    found: list[tuple[str, str]] = []
    for path, kind in every:
        right = [text for other, text in NUMBERS.items() if kind is tuple and (path, other) in every]
        found += [(path, text) for text in (*NEVER.values(), *WRONG[kind]) if text not in right]
    return found


def _refused(read: Any, where: str, key: str) -> str | None:
    """What is wrong with how a wrong value is told, or None."""
    start = time.process_time()
    try:
        read()
    except UsageError as error:
        took, text = time.process_time() - start, str(error)
        if took > LONGEST:
            return f"took {took:.1f} s"
        if len(text) > 2000:
            return f"{len(text)} characters"
        return None if where in text and (key in text or "not valid YAML" in text) else f"says only: {text}"
    except Exception as error:  # what a user would see as a traceback
        return f"{type(error).__name__}: {error}"
    return "accepted"


def _written(document: Mapping[str, Any], path: str, text: str, file: Path) -> None:
    """`document` with the YAML `text` at a dotted path, as a file."""
    changed = copy.deepcopy(dict(document))
    *parents, last = path.split(".")
    node = changed
    for key in parents:
        node = node.setdefault(key, {})
    node[last] = "HERE"
    file.write_text(json.dumps(changed).replace('"HERE"', text), encoding="utf-8")


def _knobs_of(family: str) -> type[BaseModel]:
    knobs = models.find(family).Knobs
    assert issubclass(knobs, BaseModel)
    return knobs


FAMILIES = sorted({str(YAML().load(path)["family"]) for path in documents("recipes").values()})


def _recipe(family: str) -> dict[str, Any]:
    prompts = {"golden": {"prompts": ["x"]}, "calibration": {"prompts": ["x"]}}
    return {"schema": 2, "name": "x", "summary": "x", "family": family, "weights": "x", **prompts}


def _reader(family: str) -> Callable[..., Recipe]:
    """What reads recipes of a family, its words looked up once."""
    knobs = _knobs_of(family)
    return partial(recipes.read_recipe, vocabulary=Vocabulary(lambda _: knobs, ["any"]))  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_field_of_a_recipe(family: str, tmp_path: Path) -> None:
    own = [field for field in _fields(Recipe) if field[0] != "knobs"]
    fields = [*(own if family == FAMILIES[0] else []), ("knobs", BaseModel), *_fields(_knobs_of(family), "knobs.")]
    assert len(own) > 5 and len(fields) > len(_knobs_of(family).model_fields)
    read, file, told = _reader(family), tmp_path / "recipe.yaml", {}
    for path, text in _cases(iter(fields)):
        _written(_recipe(family), path, text, file)
        key = path.rpartition(".")[2] if "any" not in path else path.partition(".")[0]
        told[path, text[:20]] = _refused(lambda: read(str(file)), f"{file}:", key)
    assert not {case: problem for case, problem in told.items() if problem}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_knob_as_an_override(family: str, tmp_path: Path) -> None:
    read, file, told = _reader(family), tmp_path / "recipe.yaml", {}
    file.write_text(json.dumps(_recipe(family)))
    for path, text in _cases(_fields(_knobs_of(family), "knobs.")):
        told[path, text[:20]] = _refused(lambda: read(str(file), assignments=[f"{path}={text}"]), "", path)  # noqa: B023
    assert not {case: problem for case, problem in told.items() if problem}


@pytest.mark.parametrize("backend", backends.names())
def test_every_field_of_a_target(backend: str, tmp_path: Path) -> None:
    document = {"name": "x", "summary": "x", "backend": backend, "device": "x"}
    own = [field for field in _fields(Target) if field[0] != "options"] if backend == "eager" else []
    fields = [*own, ("options", dict), *_fields(backends.find(backend).Options, "options.")]
    told = {}
    for path, text in _cases(iter(fields)):
        file = tmp_path / "target.yaml"
        _written(document, path, text, file)
        key = path.rpartition(".")[2] if "any" not in path else path.partition(".")[0]
        told[path, text[:20]] = _refused(lambda file=file: read_target(str(file)), str(file), key)
    assert not {case: problem for case, problem in told.items() if problem}


@pytest.mark.parametrize("name", ["../escaped", "/absolute", "a/b", "..", ".hidden", "", "a\\\\b", "x" * 101, "a\\nb"])
def test_names_lead_to_no_other_folder(name: str, tmp_path: Path) -> None:
    file = tmp_path / "document.yaml"
    file.write_text(f'schema: 2\nname: "{name}"\nsummary: x\nfamily: trellis\nweights: x\ngolden: {{prompts: [x]}}\n')
    with pytest.raises(UsageError, match=rf"{file}:2: name: .* \(got "):
        read_recipe(str(file))
    file.write_text(f'name: "{name}"\nsummary: x\nbackend: eager\ndevice: x\n')
    with pytest.raises(UsageError, match=rf"{file}:1: name: .* \(got "):
        read_target(str(file))


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
        "a: &a [*a]\n",
        "a: " + "[" * 100_000,
        "a: " + "{a: " * 3000,
        "a:\n" + "".join(f"{' ' * n}- \n" for n in range(1, 3000)),
        "a: 1\na: 2\n",
        "? [a, b]\n: 1\n",
        "--- a: 1\n--- b: 2\n",
        "x" * (2**18 + 1),
        "a: \x01\n",
    ],
    ids=["laughs", "loop", "deep", "deep mappings", "deep lists", "twice", "list as key", "two", "large", "control"],
)
def test_documents_that_are_traps(text: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    for read in (read_recipe, read_target):
        assert _refused(lambda read=read: read(str(file)), str(file), "") is None


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("knobs.sampler.stepz=4", "override knobs.sampler.stepz: unknown key; did you mean 'steps'?"),
        ("sampler.steps=4", "override sampler: unknown key; this format has it as knobs.sampler"),
        ("golden={prompt: [a]}", "override golden.prompt: unknown key; did you mean 'prompts'?"),
        ("knobs.sampler.steps=true", "override knobs.sampler.steps: needs a number"),
        ("golden.seed=.inf", "override golden.seed: needs a finite number"),
        ("golden..seed=1", "not an override; write key=value"),
    ],
)
def test_an_override_is_named_instead_of_a_line(assignment: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        read_recipe("trellis-mini", None, [assignment])
    assert message in str(error.value)
    assert ".yaml" not in str(error.value)


def test_an_exception_for_a_target_is_named_with_its_own_line(tiny_recipe: Path) -> None:
    lines = tiny_recipe.read_text().splitlines()
    tiny_recipe.write_text("\n".join([*lines, "targets:", "  eager: {knobs.sampler.stepz: 3}"]) + "\n")
    line = len(lines) + 2
    with pytest.raises(UsageError, match=rf"{tiny_recipe}:{line}: targets.eager: knobs.sampler.stepz: unknown key"):
        read_recipe(str(tiny_recipe), read_target("eager"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": NaN}', "a: needs a finite number"),
        (b'{"a": [1, {"b": 1e999}]}', "a.1.b: needs a finite number"),
        (b'{"a": "x\\u0000"}', "a: has the control character"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not a thing"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a":' * 60 + b"1" + b"}" * 60, "nested deeper than 50 levels"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b"[]", "holds no object"),
        (b"5", "holds no object"),
        (b"{", "copy it again"),
        (b"", "copy it again"),
    ],
)
def test_damaged_json(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as error:
        read_json(path, "a thing")
    assert str(path) in str(error.value)


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_file_is_not_waited_for(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "document.yaml"
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "device": lambda: path.symlink_to("/dev/zero")}[kind]()
    for read in (read_recipe, read_target, lambda name: read_json(Path(name), "a thing")):
        with pytest.raises(UsageError, match=r"document\.yaml.*: a folder, a pipe or a device, and no file"):
            read(str(path))


def test_an_override_that_is_no_yaml_is_told_with_the_reason() -> None:
    with pytest.raises(UsageError, match=r"not valid YAML \(nested deeper than 50 levels.*\); put a text in quotes"):
        read_recipe("trellis-mini", None, ["golden.seed=" + "[" * 60])
