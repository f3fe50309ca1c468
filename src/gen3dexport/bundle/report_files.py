"""The reports in a bundle: written after the manifest, so their digests lie in a file of their own.

`reports.sha256` has lines as sha256sum writes and checks them, of every report and of the manifest that they are about.
While reports are replaced it holds the old and the new ones' digests, so that a process that is killed at any moment
leaves a bundle that verifies.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from gen3dexport.bundle.files import digest
from gen3dexport.disk import alone
from gen3dexport.errors import UsageError

REPORTS = ("report.json", "report.md", "report.html", "junit.xml")
DIGESTS = "reports.sha256"
MANIFEST = "manifest.json"
SIGNATURE = "model.sig"
"""The signature of a bundle, see `signatures`."""
BESIDE_MANIFEST = frozenset(name for own in (*REPORTS, DIGESTS) for name in (own, f".{own}.tmp")) | {SIGNATURE}
"""What a bundle may have and its manifest does not list: names with a dot are left by a killed process."""
_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")


def refuse_inside(bundle: Path, out: Path) -> None:
    """Refuse an output that would stand in a bundle, whose files are fixed.

    Raises:
        UsageError: naming it.
    """
    if (bundle / MANIFEST).is_file() and out.resolve().is_relative_to(bundle.resolve()):
        raise UsageError(f"{out}: lies in the bundle, whose files are fixed; name a place outside with -o")


def write_reports(bundle: Path, texts: Mapping[str, str]) -> None:
    """Write reports into their bundle, each whole or not at all.

    Raises:
        OSError: when the folder cannot be written.
    """
    new = {(name, hashlib.sha256(text.encode()).hexdigest()) for name, text in texts.items()}
    with alone(bundle):  # temporary files have the same names
        new.add((MANIFEST, digest(bundle / MANIFEST)))
        old = {(name, digest(bundle / name)) for name in REPORTS if (bundle / name).is_file()}
        write_text(bundle / DIGESTS, _lines(new | (old & recorded(bundle))))
        for name, text in texts.items():
            write_text(bundle / name, text)
        write_text(bundle / DIGESTS, _lines(new))


def write_text(path: Path, text: str) -> None:
    """`text` into a file through a temporary one of a fixed name beside it."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def recorded(bundle: Path) -> set[tuple[str, str]]:
    """(file, SHA-256) of every line of the digests; a line that is none is left out."""
    return _recorded(_digests(bundle))


def _recorded(text: bytes | None) -> set[tuple[str, str]]:
    lines = (text or b"").decode("utf-8", errors="replace").splitlines()
    return {(found[2], found[1]) for line in lines if (found := _LINE.fullmatch(line))}


def _digests(bundle: Path) -> bytes | None:
    path = bundle / DIGESTS
    return path.read_bytes() if path.is_file() else None


def changed_reports(bundle: Path) -> list[str]:
    """What was changed of the reports since they were written; reports that are gone are no change."""
    while True:
        text = _digests(bundle)
        problems = _changed(bundle, text)
        if not problems or _digests(bundle) == text:
            return problems  # else a validation was writing them


def _changed(bundle: Path, text: bytes | None) -> list[str]:
    known = _recorded(text)
    there = [name for name in REPORTS if (bundle / name).is_file()]
    problems = [f"{name}: a folder; validate the bundle again" for name in BESIDE_MANIFEST if (bundle / name).is_dir()]
    problems += [
        f"{name}: SHA-256 differs from {DIGESTS}'s; validate the bundle again"
        for name in there
        if (name, digest(bundle / name)) not in known
    ]
    if there and (MANIFEST, digest(bundle / MANIFEST)) not in known:
        problems.append(f"{DIGESTS}: the reports are of another manifest; validate the bundle again")
    if text is not None and text != _lines(known).encode():
        problems.append(f"{DIGESTS}: damaged; validate the bundle again")
    return problems


def _lines(digests: Iterable[tuple[str, str]]) -> str:
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(digests))
