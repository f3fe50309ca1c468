"""`NOTICES.txt` of a bundle: the licences of what is in it, for whoever passes it on."""

from __future__ import annotations

from pathlib import Path

from gen3dexport.documents.licences import OWN, UNKNOWN, Licences, links, warning
from gen3dexport.documents.shipped import own_licence

NOTICES = "NOTICES.txt"
"""The file of a bundle."""
_NAMES = ("licence", "license", "notice", "copying", "copyright")
_LARGEST = 2**20


def notices(name: str, licences: Licences, weights: Path) -> str:
    """The text of the notices: each part's licence with its address, what the recipe wants said, and whole texts.

    Args:
        name: of the recipe.
        weights: the checkpoint's folder; the texts of licences that lie in it come along.
    """
    lines = [f"{name}: a bundle of programs made by gen3dexport.", "", f"gen3dexport: {OWN}, whose text is below"]
    for what, text in licences.lines():
        where = [] if text == UNKNOWN else links(text, licences.link)
        remedy = ["; ask whoever published it"] if text == UNKNOWN else []
        lines.append("".join([f"{what}: {text}", *(f" {link}" for link in where), *remedy]))
    if (limit := warning(name, licences)) is not None:
        lines += ["", limit]
    if licences.notice:
        lines += ["", licences.notice.strip()]
    texts = {"gen3dexport": own_licence().read_text(encoding="utf-8")} | _texts(weights)
    for title, text in texts.items():
        lines += ["", f"{f' {title} ':=^80}", "", text.strip("\n")]
    return "\n".join(lines) + "\n"


def _texts(weights: Path) -> dict[str, str]:
    """The texts of licences and notices that lie in a checkpoint's folder, by their name."""
    there = sorted(path for path in weights.iterdir() if path.name.lower().startswith(_NAMES) and path.is_file())
    return {
        f"the weights' {path.name}": path.read_text(encoding="utf-8", errors="replace")
        for path in there
        if path.stat().st_size <= _LARGEST
    }
