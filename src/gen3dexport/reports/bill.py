"""A bundle's bill of materials: CycloneDX 1.6 JSON with the model's card. The same bundle gives the same bytes.

Written here and not by the library of CycloneDX, which drops model cards (findings/cyclonedx-drops-model-card.sh).
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from gen3dexport import __version__
from gen3dexport.bundle.files import File
from gen3dexport.bundle.manifest import Manifest
from gen3dexport.documents.licences import OWN, links
from gen3dexport.documents.recipe import Recipe, TrainingData
from gen3dexport.errors import UsageError
from gen3dexport.reports.model_card import model_card
from gen3dexport.reports.records import Report

Json = dict[str, Any]

_SPEC = "1.6"
_MODEL, _DATA = "model", "training-data"
_NO_PACKAGE = {"python": "pkg:generic/python"}


def bill(manifest: Manifest, rest: Mapping[str, File], kinds: Sequence[str], report: Report | None) -> Json:
    """The bill of a bundle that was verified.

    Args:
        rest: files that the manifest does not list: itself, reports, signature.
        kinds: of the assets that the bundle makes.
        report: what was measured of the bundle, if it was validated.
    """
    recipe = Recipe.model_validate(manifest.recipe)
    files = {**manifest.files, **rest}
    parts = [
        *(_file(name, files[name]) for name in sorted(files)),
        *_weights(manifest, recipe),
        *([] if recipe.training_data is None else [_training_data(recipe.training_data, recipe.licences.data)]),
        *(_package(name, version) for name, version in sorted(manifest.versions.items())),
    ]
    content: Json = {
        "version": 1,
        "metadata": {
            **_time(),
            "tools": {"components": [_package("gen3dexport", __version__, "tool")]},
            "component": _model(manifest, recipe, kinds, report),
        },
        "components": parts,
        "dependencies": [{"ref": _MODEL, "dependsOn": [part["bom-ref"] for part in parts]}],
    }
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    return {"bomFormat": "CycloneDX", "specVersion": _SPEC, "serialNumber": f"urn:uuid:{number}", **content}


def _time() -> Json:
    """When the bill was made, where the environment says so, for reproducible files have no clock.

    Raises:
        UsageError: when it says nonsense.
    """
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    if seconds is None:
        return {}
    try:
        return {"timestamp": datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"SOURCE_DATE_EPOCH={seconds!r}: needs whole seconds since 1970; set or unset it") from error


def _model(manifest: Manifest, recipe: Recipe, kinds: Sequence[str], report: Report | None) -> Json:
    data = _DATA if recipe.training_data is not None else None
    found: Json = {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": recipe.name,
        "version": manifest.digest,
        "description": recipe.summary,
        **_licences(recipe.licences.weights, recipe.licences.link),
        "modelCard": model_card(manifest, recipe, kinds, report, data),
        "properties": _properties(
            target=manifest.target["name"],
            backend=manifest.target["backend"],
            family=manifest.family,
            **{f"licence:{what}": text for what, text in recipe.licences.lines()},
            **{f"scheme:{p.name}": p.scheme for p in manifest.programs},
        ),
    }
    return found


def _licences(expression: str | None, own: str) -> Json:
    """A component's licence and where its terms stand; nothing where it is not known."""
    if expression is None:
        return {}
    where = [{"type": "license", "url": link} for link in links(expression, own)]
    return {"licenses": [{"expression": expression}], "externalReferences": where}


def _file(name: str, file: File) -> Json:
    return {
        "type": "file",
        "bom-ref": f"file:{quote(name)}",
        "name": name,
        **_hash(file.sha256),
        "properties": _properties(bytes=str(file.bytes)),
    }


def _weights(manifest: Manifest, recipe: Recipe) -> Iterator[Json]:
    """What the bundle's weights were made of: the checkpoint's files, which are not in it."""
    for component, found in manifest.weights.items():
        for name, sha256 in found.items():
            yield {
                "type": "data",
                "bom-ref": f"weights:{component}/{quote(name)}",
                "name": name,
                "description": f"checkpoint of {component} that the bundle was built from",
                **_hash(sha256),
                **_licences(recipe.licences.weights, recipe.licences.link),
                "data": [{"type": "other", "name": "weights"}],
            }


def _training_data(data: TrainingData, licence: str | None) -> Json:
    where = [{"type": "documentation", "url": data.link}] if data.link else []
    licensed = _licences(licence, data.link)
    return {
        "type": "data",
        "bom-ref": _DATA,
        "name": data.name,
        **(_hash(data.sha256) if data.sha256 else {}),
        **licensed,
        "externalReferences": [*licensed.get("externalReferences", []), *where],
        "data": [{"type": "dataset", "name": data.name}],
    }


def _package(name: str, version: str, role: str = "package") -> Json:
    """A package that the bundle was built with, or the tool that writes this."""
    purl = _NO_PACKAGE.get(name) or f"pkg:pypi/{quote(name.lower().replace('_', '-'))}"
    return {
        "type": "application" if role == "tool" else "library",
        "bom-ref": f"{role}:{name}",
        "name": name,
        "version": version,
        "purl": f"{purl}@{quote(version, safe='')}",
        **(_licences(OWN, "") if name == "gen3dexport" else {}),
    }


def _hash(sha256: str) -> Json:
    return {"hashes": [{"alg": "SHA-256", "content": sha256}]}


def _properties(**values: str) -> list[Json]:
    return [{"name": f"gen3dexport:{name}", "value": value} for name, value in values.items()]
