"""A bundle as an OCI artifact: every file one layer, whose title is its whole path in the bundle.

The manifest holds no time and no machine, so that the same bundle has the same digest wherever it is pushed from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from gen3dexport.bundle.files import FileName
from gen3dexport.bundle.manifest import Manifest
from gen3dexport.bundle.report_files import DIGESTS, MANIFEST, REPORTS, SIGNATURE
from gen3dexport.documents.record import Record, told
from gen3dexport.errors import UsageError, VerificationError
from gen3dexport.registry.client import MANIFEST_TYPE, Repository, digest_of

ARTIFACT_TYPE = "application/vnd.gen3dexport.bundle.v1"
_CONFIG_TYPE = "application/vnd.oci.empty.v1+json"
_TITLE = "org.opencontainers.image.title"
_LICENSES = "org.opencontainers.image.licenses"
_TYPES = {".json": "application/json", ".html": "text/html", ".md": "text/markdown", ".txt": "text/plain"}
_OTHER_TYPE = "application/octet-stream"
_MOST_FILES = 100_000
_NAME: TypeAdapter[str] = TypeAdapter(FileName)


class _Described(Record):
    """A blob as a manifest describes it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    annotations: dict[str, str] = {}


class _Artifact(Record):
    """What is read of an artifact's manifest."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: Literal[2] = Field(alias="schemaVersion")
    artifact_type: str = Field(default="", alias="artifactType")
    layers: Annotated[tuple[_Described, ...], Field(max_length=_MOST_FILES)]


def push(bundle: Path, manifest: Manifest, repository: Repository) -> str:
    """Send a bundle that was verified; the artifact's digest.

    Raises:
        MissingError: when the registry cannot be reached or does not take it.
        UsageError: for an artifact's name that is a digest.
    """
    if repository.name.version.startswith("sha256:"):
        raise UsageError(f"{repository.name}: a bundle is pushed under a tag; write NAME:TAG")
    layers = []
    for name, (digest, size) in sorted(_files(bundle, manifest).items()):
        path = bundle / name
        repository.put_blob(digest, path)
        kind = _TYPES.get(path.suffix, _OTHER_TYPE)
        layers.append({"mediaType": kind, "digest": digest, "size": size, "annotations": {_TITLE: name}})
    config = b"{}"
    repository.put_blob(digest_of(config), config)
    content = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": ARTIFACT_TYPE,
            "config": {"mediaType": _CONFIG_TYPE, "digest": digest_of(config), "size": len(config)},
            "layers": layers,
            "annotations": {_TITLE: manifest.recipe["name"], **_licence(manifest)},
        },
        sort_keys=True,
    ).encode()
    repository.put_manifest(content)
    return digest_of(content)


def _licence(manifest: Manifest) -> Mapping[str, str]:
    weights = (manifest.recipe.get("licences") or {}).get("weights")
    return {_LICENSES: weights} if weights else {}


def _files(bundle: Path, manifest: Manifest) -> dict[str, tuple[str, int]]:
    """Digest and size of every file of a bundle; the registry checks them against what comes."""
    found = {name: (f"sha256:{file.sha256}", file.bytes) for name, file in manifest.files.items()}
    for name in (MANIFEST, *REPORTS, DIGESTS, SIGNATURE):
        if (bundle / name).is_file():
            content = (bundle / name).read_bytes()
            found[name] = digest_of(content), len(content)
    return found


def pull(repository: Repository, folder: Path) -> str:
    """Write the files of an artifact into an empty folder; the artifact's digest.

    Raises:
        MissingError: when the registry cannot be reached or does not give it.
        VerificationError: when it is no bundle, a file would lie outside the folder, or a byte is not as described.
    """
    content = repository.manifest()
    try:
        artifact = _Artifact.model_validate_json(content)
    except ValidationError as error:
        raise VerificationError(f"{repository.name}: no OCI manifest of version 2 ({told(error)})") from error
    if artifact.artifact_type != ARTIFACT_TYPE:
        kind = artifact.artifact_type or "none"
        raise VerificationError(
            f"{repository.name}: no bundle (its artifact type is {kind[:100]!r}, not {ARTIFACT_TYPE!r}); check the name"
        )
    names = [_name(layer, repository) for layer in artifact.layers]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise VerificationError(f"{repository.name}: more than one file is called {twice[0]!r}; nothing was written")
    if MANIFEST not in names:
        raise VerificationError(f"{repository.name}: no bundle, it has no {MANIFEST}; nothing was written")
    for name, layer in zip(names, artifact.layers, strict=True):
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            repository.get_blob(layer.digest, layer.size, path)
        except (FileExistsError, NotADirectoryError) as error:
            raise VerificationError(f"{repository.name}: {name!r} is a file and a folder; nothing was kept") from error
    return digest_of(content)


def _name(layer: _Described, repository: Repository) -> str:
    try:
        return _NAME.validate_python(layer.annotations.get(_TITLE, ""))
    except ValidationError as error:
        raise VerificationError(f"{repository.name}: a file's {told(error)}; nothing was written") from error
