"""Malformed documents of every kind, each with the command that is to refuse it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import wrong_values
import wrong_weights
from wrong_values import DEFAULT, Schema, Wrong

from gen3dexport import backends, models
from gen3dexport.bundle.manifest import Manifest
from gen3dexport.documents.document import read_yaml
from gen3dexport.documents.recipe import Recipe
from gen3dexport.documents.shipped import documents
from gen3dexport.documents.target import Target
from gen3dexport.models.triposr.host.model import Model
from gen3dexport.plan import make_plan, read_recipe, read_target
from gen3dexport.reports.records import Report

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
for _place in (TESTS, TESTS / "families" / "triposr", Path(__file__).parent):
    sys.path.insert(0, str(_place))

import harms  # noqa: E402
from paper_bundle import write_paper_bundle  # noqa: E402
from sample_reports import report  # noqa: E402

GOLDEN = TESTS / "golden"
TINY = """\
schema: 2
name: tiny
summary: the golden sets' networks as a pipeline
family: {family}
weights: {weights}
knobs: {knobs}
golden: {{prompts: [first], assets: false}}
"""


_DINO = {"model_type": "dinov2_with_registers", "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
_DINO |= {"image_size": 42, "patch_size": 14, "num_register_tokens": 1, "mlp_ratio": 4, "hidden_act": "gelu"}
_CLIP = {"model_type": "clip_text_model", "vocab_size": 11, "hidden_size": 48, "intermediate_size": 96}
_CLIP |= {"num_hidden_layers": 3, "num_attention_heads": 2, "max_position_embeddings": 11, "layer_norm_eps": 1e-5}
ENCODERS = {
    "dino": ("image_cond_model", "dinov2_vitl14_reg", _DINO),
    "clip": ("text_cond_model", "openai/clip-vit-large-patch14", _CLIP),
}
"""Checkpoints with an encoder: its role in `pipeline.json`, its name there, its configuration."""


@dataclass(frozen=True)
class Case:
    """A malformed document.

    Attributes:
        group: the kind of document; kind: of what is wrong; what: where it is wrong.
        write: writes it into a folder and gives the command's arguments.
    """

    group: str
    kind: str
    what: str
    write: Callable[[Path], list[str]]


@dataclass(frozen=True)
class Right:
    """Right documents to change: the folder that `prepare` fills."""

    folder: Path

    @property
    def trellis(self) -> Path:
        """A TRELLIS checkpoint of both stages, the structured latent's networks without weights."""
        return self.folder / "trellis"

    @property
    def triposr(self) -> Path:
        """A TripoSR checkpoint."""
        return self.folder / "triposr"


def prepare(folder: Path) -> Right:
    """Small checkpoints of both families, in their released layouts, from the golden sets of the tests."""
    from gen3dexport.models.trellis.host.configs import NETWORKS

    made = Right(folder)
    (made.trellis / "ckpts").mkdir(parents=True)
    for name, source in (("ss_flow_tiny", "ss_flow"), ("ss_dec_tiny", "ss_dec")):
        for own, ending in (("config.json", "json"), ("weights.safetensors", "safetensors")):
            shutil.copyfile(GOLDEN / "trellis" / source / own, made.trellis / "ckpts" / f"{name}.{ending}")
    roles = {"slat_flow_model": "slat_flow_tiny", "slat_decoder_gs": "slat_dec_gs_tiny"}
    for name in roles.values():
        cls, args = NETWORKS[name]
        text = json.dumps({"name": cls, "args": {**args, "resolution": 32}})
        (made.trellis / "ckpts" / f"{name}.json").write_text(text)
    sampler = {"params": {"steps": 4, "cfg_strength": 2.0, "cfg_interval": [0.5, 1.0], "rescale_t": 3.0}}
    networks = {"sparse_structure_flow_model": "ss_flow_tiny", "sparse_structure_decoder": "ss_dec_tiny", **roles}
    args = {"models": {role: f"ckpts/{name}" for role, name in networks.items()}}
    args |= {"sparse_structure_sampler": sampler, "slat_sampler": sampler, "text_cond_tokens": 11}
    args["slat_normalization"] = {"mean": [0.1] * 8, "std": [1.5] * 8}
    (made.trellis / "pipeline.json").write_text(json.dumps({"name": "TrellisTextTo3DPipeline", "args": args}))
    from triposr_tiny import checkpoint

    checkpoint(made.triposr)
    for name, (role, encoder, config) in ENCODERS.items():
        shutil.copytree(made.trellis, folder / name)
        (folder / name / "pipeline.json").write_text(json.dumps({"args": {**args, role: encoder}}))
        place = folder / name / "encoders" / encoder.rpartition("/")[2]
        place.mkdir(parents=True)
        (place / "config.json").write_text(json.dumps(config))
        (place / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    return made


def _tokenizer() -> dict[str, Any]:
    """The tokenizer of a few words, with marks at both ends."""
    marks = [{"SpecialToken": {"id": mark, "type_id": 0}} for mark in ("<s>", "</s>")]
    single = [marks[0], {"Sequence": {"id": "A", "type_id": 0}}, marks[1]]
    special = {mark: {"id": mark, "ids": [k], "tokens": [mark]} for k, mark in enumerate(("<s>", "</s>"))}
    ends = {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": special}
    words = {"<s>": 0, "</s>": 1, "first": 2}
    model = {"type": "WordLevel", "vocab": words, "unk_token": "first"}
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None}
    return {**whole, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": ends, "decoder": None, "model": model}


def all_of(right: Right) -> list[Case]:
    """Every case."""
    found = [*recipes(), *overrides(), *targets(), *manifests(right), *reports(), *traps()]
    return [*found, *pipelines(right), *configurations(right), *encoders(right), *weights(right)]


def yaml_text(document: Any) -> str:
    """A document as YAML that is nearly JSON: only numbers that are not finite are written otherwise."""
    text = json.dumps(_marked(document), indent=1)
    for name, written in (("nan", ".nan"), ("inf", ".inf")):
        text = text.replace(f'"@{name}@"', written)
    return text


def _marked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _marked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(inner) for inner in value]
    return f"@{value}@" if isinstance(value, float) and str(value) in ("nan", "inf") else value


def _plain(path: Path) -> Any:
    return json.loads(json.dumps(read_yaml(path)))


def _changes(document: Any, schema: Schema, inside: Mapping[str, Schema] | None = None) -> Iterator[Wrong]:
    yield from (one for one in wrong_values.wrong(document, schema, inside) if one.kind != DEFAULT)


def _written(name: str, text: str, arguments: list[str], folder: Path) -> list[str]:
    """A text as the file `name`, which stands for HERE among the arguments."""
    (folder / name).write_text(text, encoding="utf-8")
    return [a.replace("HERE", str(folder / name)) for a in arguments]


def recipes() -> Iterator[Case]:
    """Wrong fields of shipped recipes."""
    for name in ("trellis-mini", "triposr", "trellis-image-large"):
        document = _plain(documents("recipes")[name])
        inside = {"knobs": models.find(document["family"]).Knobs.model_json_schema()}
        for one in _changes(document, Recipe.model_json_schema(), inside):
            write = partial(_written, "recipe.yaml", yaml_text(one.of(document)), ["plan", "HERE", "-t", "eager"])
            yield Case("recipes", one.kind, f"{name}: {one}", write)


def overrides() -> Iterator[Case]:
    """Wrong values given on the command line."""
    document = _plain(documents("recipes")["trellis-mini"])
    document["knobs"] = {"sampler": {"steps": 4, "guidance": "batched", "guidance_interval": [0, 1]}, "encoder": "none"}
    inside = {"knobs": models.find("trellis").Knobs.model_json_schema()}
    for one in _changes(document, Recipe.model_json_schema(), inside):
        path = ".".join(map(str, one.path))
        if one.kind == "missing" or any(isinstance(part, int) or "." in part for part in one.path):
            continue
        value = yaml_text(one.value).replace("\n", " ")
        yield Case("overrides", one.kind, path, partial(_arguments, ["plan", "trellis-mini", f"{path}={value}"]))


def _arguments(arguments: list[str], folder: Path) -> list[str]:
    return arguments


def targets() -> Iterator[Case]:
    """Wrong fields of shipped targets."""
    for name in ("executorch-xnnpack", "onnx", "tpu-v5e", "cpu-aoti", "cuda-sm90", "eager"):
        document = {"options": {}, "measure": {"runs": 5}, "aliases": ["x"], **_plain(documents("targets")[name])}
        inside = {"options": backends.find(document["backend"]).Options.model_json_schema()}
        for one in _changes(document, Target.model_json_schema(), inside):
            arguments = ["plan", "trellis-mini", "-t", "HERE"]
            write = partial(_written, "target.yaml", yaml_text(one.of(document)), arguments)
            yield Case("targets", one.kind, f"{name}: {one}", write)


def manifests(right: Right) -> Iterator[Case]:
    """Wrong fields of manifests, with a right digest of their own."""
    for name in ("onnx", "cpu-aoti", "tpu-v5e"):
        folder = right.folder / f"bundle-{name}"
        if not folder.is_dir():
            target = read_target(name)
            write_paper_bundle(make_plan(read_recipe("trellis-mini", target), target), folder)
        good = harms.Good(folder)
        for one in _changes(good.data, Manifest.model_json_schema(), harms.schemas(good.data)):
            if one.path[0] != "digest":
                yield Case("manifests", one.kind, f"{name}: {one}", partial(_bundle, good, one))


def _bundle(good: harms.Good, one: Wrong, folder: Path) -> list[str]:
    shutil.copytree(good.folder, folder / "bundle")
    harms.write(folder / "bundle", one.of(good.data), sealed=True)
    return ["verify", str(folder / "bundle")]


def reports() -> Iterator[Case]:
    """Wrong fields of reports."""
    document = json.loads(report().to_json())
    for one in _changes(document, Report.model_json_schema()):
        if one.kind == "control character":  # messages of other programs may have some
            continue
        text = json.dumps(one.of(document))
        yield Case("reports", one.kind, str(one), partial(_written, "report.json", text, ["compare", "HERE", "HERE"]))


_DEEP = 100_000
TRAPS: Mapping[str, bytes] = {
    "nothing": b"",
    "a remark": b"# nothing\n",
    "null": b"null",
    "a number": b"5",
    "a text": b"word",
    "a list": b"[1, 2]",
    "cut": b'{"name": "x", "golden": {"prom',
    "not closed": b"a: [1",
    "a tabulator": b"a:\n\t- b",
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "UTF-32": '{"name": "x"}'.encode("utf-32"),
    "Latin-1": '{"name": "\xfc"}'.encode("latin-1"),
    "bytes": bytes(range(256)),
    "zeros": b"\0" * 1000,
    "a Git LFS pointer": wrong_weights.POINTER,
    "a page of HTML": wrong_weights.PAGE,
    "lists without end": b"[" * _DEEP,
    "mappings without end": b'{"a":' * _DEEP,
    "deep lists": b"[" * 60 + b"]" * 60,
    "a number of 5,000 digits": b'{"name": ' + b"9" * 5000 + b"}",
    "large": b'{"name": "' + b"x" * 2**19 + b'"}',
}
YAML_TRAPS: Mapping[str, bytes] = {
    "a loop": b"a: &a [*a]\n",
    "aliases of aliases": b"a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    + b"".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n".encode() for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "an unknown alias": b"a: *b\n",
    "a tag of Python": b"a: !!python/object/apply:os.getcwd []\n",
    "a key twice": b"name: x\nname: y\n",
    "a list as key": b"? [a, b]\n: 1\n",
    "two documents": b"a: 1\n---\nb: 2\n",
    "a merge of nothing": b"a: {<<: 5}\n",
    "a date": b"name: 2026-11-28\n",
    "sixties": b"schema: 1:30\n",
}
PLACES: Mapping[str, Callable[[Path], object]] = {
    "a folder": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a device without end": lambda path: path.symlink_to("/dev/zero"),
    "missing": lambda path: None,
}


def traps() -> Iterator[Case]:
    """Files that are no recipe and no target, and things that are no file."""
    for group, name in (("recipes", "recipe.yaml"), ("targets", "target.yaml")):
        arguments = ["plan", "HERE", "-t", "eager"] if group == "recipes" else ["plan", "trellis-mini", "-t", "HERE"]
        for what, content in {**TRAPS, **YAML_TRAPS}.items():
            yield Case(group, "no document", what, partial(_raw, name, content, arguments))
        for what, make in PLACES.items():
            yield Case(group, "no file", what, partial(_placed, name, make, arguments))
    for what, content in TRAPS.items():
        yield Case("reports", "no document", what, partial(_raw, "report.json", content, ["compare", "HERE", "HERE"]))


def _raw(name: str, content: bytes, arguments: list[str], folder: Path) -> list[str]:
    (folder / name).write_bytes(content)
    return [a.replace("HERE", str(folder / name)) for a in arguments]


def _placed(name: str, make: Callable[[Path], object], arguments: list[str], folder: Path) -> list[str]:
    make(folder / name)
    return [a.replace("HERE", str(folder / name)) for a in arguments]


OPTIONAL = ("mlp_ratio", "num_heads", "num_res_blocks_middle", "patch_size", "perturb_offset", "pe_mode", "qk_rms_norm")
OPTIONAL += ("attn_mode", "io_block_channels", "num_io_res_blocks", "text_cond_tokens", "window_size")
"""Keys of configurations that have a default."""


def schema_of(example: Any, unused: tuple[str, ...] = (), path: str = "") -> dict[str, Any]:
    """A JSON schema by example: the same types, whole numbers from 0 on, no key missing but `OPTIONAL` ones.

    Args:
        unused: dotted paths that nothing reads, which may hold anything, and be missing.
    """
    if path.endswith("mlp_ratio"):
        return {"type": "number", "exclusiveMinimum": 0}
    if path.endswith("num_heads"):  # by the heads' width
        return {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 2**40}, {"type": "null"}]}
    if path in unused:
        return {}
    if isinstance(example, bool) or example is None:
        return {"type": "boolean"} if example is not None else {}
    if isinstance(example, int):
        return {"type": "integer", "minimum": 0, "maximum": 2**40}
    if isinstance(example, float):
        return {"type": "number"}
    if isinstance(example, str):
        return {"type": "string", "minLength": 1}
    if isinstance(example, list):
        return {"type": "array", "items": schema_of(example[0], unused, f"{path}.0"), "minItems": 1}
    inner = {key: schema_of(value, unused, f"{path}.{key}".removeprefix(".")) for key, value in example.items()}
    required = [key for key, found in inner.items() if found and key not in OPTIONAL]
    return {"type": "object", "properties": inner, "required": required}


UNUSED: Mapping[str, tuple[str, ...]] = {
    "pipeline.json": ("name",),
    "ss_flow_tiny.json": ("args.use_fp16",),
    "ss_dec_tiny.json": ("args.use_fp16",),
    "slat_flow_tiny.json": ("args.use_fp16",),
    "slat_dec_gs_tiny.json": ("args.use_fp16", "args.representation_config.2d_filter_kernel_size"),
}
"""What nothing reads of a file, by its dotted path."""


def pipelines(right: Right) -> Iterator[Case]:
    """Wrong fields of `pipeline.json` and of networks' configurations in TRELLIS's layout."""
    for file in ("pipeline.json", *(f"ckpts/{name}" for name in UNUSED if name != "pipeline.json")):
        group = "pipelines" if file == "pipeline.json" else "networks"
        path, own = right.trellis / file, Path(file).name
        document = json.loads(path.read_text())
        for one in _changes(document, schema_of(document, UNUSED[own])):
            content = json.dumps(one.of(document)).encode()
            yield Case(group, one.kind, f"{own}: {one}", partial(_checkpoint, right.trellis, file, content))
        for what, content in TRAPS.items():
            yield Case(group, "no document", f"{own}: {what}", partial(_checkpoint, right.trellis, file, content))
        for what, make in PLACES.items():
            yield Case(group, "no file", f"{own}: {what}", partial(_checkpoint, right.trellis, file, make))


def configurations(right: Right) -> Iterator[Case]:
    """Wrong fields of TripoSR's `config.yaml`."""
    document = json.loads((right.triposr / "config.yaml").read_text())
    for one in _changes(document, Model.model_json_schema()):
        content = yaml_text(one.of(document)).encode()
        yield Case(
            "networks", one.kind, f"config.yaml: {one}", partial(_checkpoint, right.triposr, "config.yaml", content)
        )
    for what, content in {**TRAPS, **YAML_TRAPS}.items():
        write = partial(_checkpoint, right.triposr, "config.yaml", content)
        yield Case("networks", "no document", f"config.yaml: {what}", write)
    for what, make in PLACES.items():
        yield Case(
            "networks", "no file", f"config.yaml: {what}", partial(_checkpoint, right.triposr, "config.yaml", make)
        )


def encoders(right: Right) -> Iterator[Case]:
    """Wrong configurations and tokenizers of encoders in the transformers library's layout."""
    for name, (_, encoder, config) in ENCODERS.items():
        source, own = right.folder / name, f"encoders/{encoder.rpartition('/')[2]}"
        for one in _changes(config, schema_of(config)):
            if one.kind == "missing" and one.path[0] not in ("model_type", "hidden_size"):  # the released one stands in
                continue
            content = json.dumps(one.of(config)).encode()
            write = partial(_checkpoint, source, f"{own}/config.json", content)
            yield Case("encoders", one.kind, f"{name} config.json: {one}", write)
        for file in ("config.json", *(("tokenizer.json",) if name == "clip" else ())):
            for what, content in TRAPS.items():
                write = partial(_checkpoint, source, f"{own}/{file}", content)
                yield Case("encoders", "no document", f"{name} {file}: {what}", write)
            for what, make in PLACES.items():
                if (file, what) == ("config.json", "missing"):  # an encoder that is not there is left out
                    continue
                write = partial(_checkpoint, source, f"{own}/{file}", make)
                yield Case("encoders", "no file", f"{name} {file}: {what}", write)


def _checkpoint(source: Path, file: str, content: bytes | Callable[[Path], object], folder: Path) -> list[str]:
    """A copy of a checkpoint with a file replaced, and the recipe of it."""
    place = folder / "weights"
    shutil.copytree(source, place, copy_function=os.link)
    (place / file).unlink()
    if isinstance(content, bytes):
        (place / file).write_bytes(content)
    else:
        content(place / file)
    if file.endswith("tokenizer.json"):
        recipe = _recipe(source.name, place, folder)
        return ["build", recipe, "-t", "eager", "--skip-validation", "-o", str(folder / "bundle")]
    return ["plan", _recipe(source.name, place, folder), "-t", "eager"]


def _recipe(name: str, place: Path, folder: Path) -> str:
    family = "triposr" if name == "triposr" else "trellis"
    knobs = {"chunk": 512, "resolution": 20, "threshold": 0.5} if family == "triposr" else {"voxels": {"budget": 64}}
    path = folder / "recipe.yaml"
    path.write_text(TINY.format(family=family, weights=place, knobs=json.dumps(knobs)))
    return str(path)


def weights(right: Right) -> Iterator[Case]:
    """Wrong weights of both families."""
    places = ((right.trellis, "ckpts/ss_flow_tiny.safetensors"), (right.triposr, "model.safetensors"))
    for source, file in places:
        for allowed, forms in ((False, wrong_weights.FORMS), (True, wrong_weights.PICKLES)):
            for name, harm in forms.items():
                write = partial(_weights, source, file, harm, allowed)
                yield Case("weights", name.partition(":")[0], f"{Path(file).name}: {name}", write)


def _weights(source: Path, file: str, harm: Callable[[Path], object], allowed: bool, folder: Path) -> list[str]:
    place = folder / "weights"
    shutil.copytree(source, place)
    harm(place / file)
    arguments = ["build", _recipe(source.name, place, folder), "-t", "eager", "--skip-validation"]
    return [*arguments, "-o", str(folder / "bundle"), *(["--allow-pickle"] if allowed else [])]
