"""Ways to damage a bundle, each a function that does it to a copy whose files are hard links."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import wrong_values
from wrong_values import Wrong

from gen3dexport import backends, models
from gen3dexport.bundle.manifest import Manifest, own_digest
from gen3dexport.bundle.report_files import BESIDE_MANIFEST
from gen3dexport.documents.recipe import Recipe
from gen3dexport.documents.target import Target

MANIFEST = "manifest.json"
OUTSIDE = (
    *("../x", "../../x", "a/../../x", "/etc/hostname", "/x", "..", ".", "", "./x", "a//b", "a/", "a/./b"),
    *("a\\b", "..\\x", "C:x", "C:\\x", "x\0", "x\n", "~/../../x", "\ud800"),
)
"""Names that no file of a bundle has."""


@dataclass(frozen=True)
class Good:
    """A bundle to harm."""

    folder: Path

    @cached_property
    def data(self) -> dict[str, Any]:
        """Its manifest."""
        found: dict[str, Any] = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        return found

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Every file."""
        return tuple(sorted(p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*") if p.is_file()))

    @cached_property
    def wrong(self) -> dict[str, list[Wrong]]:
        """Every wrong change of a field of its manifest, by kind."""
        found: dict[str, list[Wrong]] = {}
        for one in wrong_values.wrong(self.data, Manifest.model_json_schema(), schemas(self.data)):
            if one.path[0] != "digest":
                found.setdefault(one.kind, []).append(one)
        return found


def schemas(manifest: Mapping[str, Any]) -> dict[str, wrong_values.Schema]:
    """The schemas of what a manifest's own leaves open, by the place where it stands."""
    family, backend = models.find(manifest["family"]), backends.find(manifest["target"]["backend"])
    requires: dict[str, wrong_values.Schema] = {}
    if (model := backends.requires(backend)) is not None:
        requires = {"programs.*.requires": model.model_json_schema()}
    return requires | {
        "recipe": Recipe.model_json_schema(),
        "recipe.knobs": family.Knobs.model_json_schema(),
        "target": Target.model_json_schema(),
        "target.options": backend.Options.model_json_schema(),
        "settings": family.Settings.model_json_schema(),
    }


Harm = Callable[[Good, Path, random.Random], str]
"""Damages a copy of a good bundle, and says how."""


def _put(path: Path, content: bytes) -> None:
    """A file in the place of a hard link."""
    path.unlink()
    path.write_bytes(content)


def _some(good: Good, chance: random.Random) -> str:
    return chance.choice(good.files)


def bit(good: Good, copy: Path, chance: random.Random) -> str:
    """A bit of a file is turned."""
    name = _some(good, chance)
    data = bytearray((copy / name).read_bytes())
    place = chance.randrange(len(data))
    data[place] ^= 1 << chance.randrange(8)
    _put(copy / name, bytes(data))
    return f"{name}: byte {place}"


def cut(good: Good, copy: Path, chance: random.Random) -> str:
    """A file ends early."""
    name = _some(good, chance)
    data = (copy / name).read_bytes()
    end = chance.randrange(1, len(data))
    _put(copy / name, data[:end])
    return f"{name}: at {end} of {len(data)}"


def longer(good: Good, copy: Path, chance: random.Random) -> str:
    """A file goes on."""
    name = _some(good, chance)
    _put(copy / name, (copy / name).read_bytes() + chance.randbytes(chance.randrange(1, 100)))
    return name


def emptied(good: Good, copy: Path, chance: random.Random) -> str:
    """A file without content."""
    name = _some(good, chance)
    _put(copy / name, b"")
    return name


def deleted(good: Good, copy: Path, chance: random.Random) -> str:
    """A file is gone."""
    name = _some(good, chance)
    (copy / name).unlink()
    return name


def swapped(good: Good, copy: Path, chance: random.Random) -> str:
    """Two files have each other's names."""
    one, other = chance.sample(good.files, 2)
    os.rename(copy / one, copy / ".x")
    os.rename(copy / other, copy / one)
    os.rename(copy / ".x", copy / other)
    return f"{one}: {other}"


def renamed(good: Good, copy: Path, chance: random.Random) -> str:
    """A file has another name."""
    name = _some(good, chance)
    (copy / name).rename((copy / name).with_name(f"x-{Path(name).name}"))
    return name


def link(good: Good, copy: Path, chance: random.Random) -> str:
    """A file is a link to where it lies outside."""
    name = _some(good, chance)
    outside = copy.with_name(f"{copy.name}-outside")
    (copy / name).rename(outside)
    (copy / name).symlink_to(outside)
    return name


def linked_folder(good: Good, copy: Path, chance: random.Random) -> str:
    """A folder is a link to where it lies outside."""
    name = chance.choice(sorted({Path(n).parts[0] for n in good.files if "/" in n}))
    outside = copy.with_name(f"{copy.name}-outside")
    (copy / name).rename(outside)
    (copy / name).symlink_to(outside)
    return name


def pipe(good: Good, copy: Path, chance: random.Random) -> str:
    """A file is a pipe, whose reader would wait for ever."""
    name = _some(good, chance)
    (copy / name).unlink()
    os.mkfifo(copy / name)
    return name


def folder(good: Good, copy: Path, chance: random.Random) -> str:
    """A file is a folder."""
    name = _some(good, chance)
    (copy / name).unlink()
    (copy / name).mkdir()
    return name


def added(good: Good, copy: Path, chance: random.Random) -> str:
    """A file, link or pipe that the manifest does not name."""
    inside = chance.choice(sorted({Path(name).parent.as_posix() for name in good.files}))
    name = chance.choice(("x", ".x", "manifest.json.bak", "x.pt2", "__init__.py", "new/x"))
    path = copy / inside / name
    path.parent.mkdir(exist_ok=True)
    what = chance.choice(("file", "link", "pipe"))
    if what == "file":
        path.write_bytes(chance.randbytes(chance.randrange(10)))
    elif what == "link":
        path.symlink_to(chance.choice(("/etc/hostname", "../manifest.json", "nowhere")))
    else:
        os.mkfifo(path)
    return f"{inside}/{name}: a {what}"


def beside(good: Good, copy: Path, chance: random.Random) -> str:
    """A file under a name that a killed validation may leave."""
    name = chance.choice(sorted(n for n in BESIDE_MANIFEST if n.startswith(".")))
    (copy / name).write_bytes(b"half")
    return name


def text(good: Good, copy: Path, chance: random.Random) -> str:
    """The same manifest in other bytes, or no manifest at all."""
    whole = (good.folder / MANIFEST).read_bytes()
    first = whole.index(b",") + 1
    forms: dict[str, bytes] = {
        "a byte-order mark": b"\xef\xbb\xbf" + whole,
        "UTF-16": whole.decode().encode("utf-16"),
        "one line": json.dumps(good.data).encode(),
        "line ends of another system": whole.replace(b"\n", b"\r\n"),
        "a space more": whole.replace(b": ", b":  ", 1),
        "text behind it": whole + b"{}",
        "a key twice": whole[:first] + whole[1:first] + whole[first:],
        "keys in another order": (json.dumps(dict(reversed(good.data.items())), indent=1) + "\n").encode(),
        "a list": b"[" + whole + b"]",
        "null": b"null",
        "no JSON": b"manifest",
        "nested without end": b"[" * 100_000,
        "a number of 5,000 digits": whole.replace(b'"schema": 2', b'"schema": ' + b"9" * 5000, 1),
        "another format": whole.replace(b'"schema": 2', b'"schema": 99', 1),
    }
    name = chance.choice(sorted(forms))
    _put(copy / MANIFEST, forms[name])
    return name


def field(kind: str, sealed: bool, good: Good, copy: Path, chance: random.Random) -> str:
    """A field of the manifest is wrong; sealed: with the digest of what it says then."""
    one = chance.choice(good.wrong[kind])
    write(copy, one.of(good.data), sealed)
    return str(one)


def outside(good: Good, copy: Path, chance: random.Random) -> str:
    """The manifest, its digest made anew, names a file outside the bundle."""
    name, data = chance.choice(OUTSIDE), json.loads(json.dumps(good.data))
    program = chance.choice(data["programs"])
    where = chance.choice(("a program", "a listed program", "a file"))
    digest = dict(data["files"][f"programs/{program['files'][0]}"])
    if where == "a file":
        data["files"][name] = digest
    else:
        program["files"] = [name]
        if where == "a listed program":
            data["files"][f"programs/{name}"] = digest
    write(copy, data, True)
    return f"{where}: {name!r}"


def foreign(others: list[Good], good: Good, copy: Path, chance: random.Random) -> str:
    """The manifest or a program of another bundle."""
    other = chance.choice([one for one in others if one.folder != good.folder])
    if chance.random() < 0.5:
        _put(copy / MANIFEST, (other.folder / MANIFEST).read_bytes())
        return f"the manifest of {other.folder.name}"
    theirs = chance.choice([name for name in other.files if name.startswith("programs/")])
    mine = chance.choice([name for name in good.files if name.startswith("programs/")])
    (copy / mine).unlink()
    os.link(other.folder / theirs, copy / mine)
    return f"{mine}: {theirs} of {other.folder.name}"


def write(copy: Path, data: dict[str, Any], sealed: bool) -> None:
    """A manifest in the place of a copy's, with its own digest or the one that it has."""
    if sealed:
        data["digest"] = _digest(data)
    _put(copy / MANIFEST, (json.dumps(data, indent=1) + "\n").encode())


def _digest(data: Mapping[str, Any]) -> str:
    try:
        return own_digest(data)
    except ValueError:  # a number that JSON does not have, so that there is no right digest
        return own_digest(json.loads(json.dumps(data), parse_constant=str))


def all_of(good: list[Good]) -> dict[str, Harm]:
    """Every way by its name."""
    found: dict[str, Harm] = {
        "a bit turned": bit,
        "cut short": cut,
        "made longer": longer,
        "emptied": emptied,
        "deleted": deleted,
        "two files swapped": swapped,
        "renamed": renamed,
        "a link instead of a file": link,
        "a link instead of a folder": linked_folder,
        "a pipe instead of a file": pipe,
        "a folder instead of a file": folder,
        "something added": added,
        "left by a killed validation": beside,
        "the manifest's text": text,
        "a path outside, digest made anew": outside,
    }
    if len(good) > 1:
        found["a part of another bundle"] = partial(foreign, good)
    kinds = sorted({kind for one in good for kind in one.wrong})
    for sealed, words in ((False, ""), (True, ", digest made anew")):
        found |= {f"manifest field {kind}{words}": partial(field, kind, sealed) for kind in kinds}
    return found
