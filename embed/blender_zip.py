"""The Blender extension as a .zip that Blender installs.

    python embed/blender_zip.py [FOLDER]

Writes FOLDER/gen3dexport-VERSION.zip (default: dist). The same sources make the same bytes. Blender's own
`blender --command extension build --source-dir embed/blender` makes one as good.
"""

from __future__ import annotations

import sys
import tomllib
import zipfile
from pathlib import Path

SOURCES = Path(__file__).parent / "blender"
HELD = (".py", ".toml")
EPOCH = (1980, 1, 1, 0, 0, 0)


def write(folder: Path) -> Path:
    """The archive's path."""
    manifest = tomllib.loads((SOURCES / "blender_manifest.toml").read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{manifest['id']}-{manifest['version']}.zip"
    license_text = SOURCES.parents[1] / "LICENSE"
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in [*sorted(p for p in SOURCES.iterdir() if p.suffix in HELD), license_text]:
            entry = zipfile.ZipInfo(path.name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    return out


if __name__ == "__main__":
    print(write(Path(sys.argv[1] if len(sys.argv) > 1 else "dist")))
