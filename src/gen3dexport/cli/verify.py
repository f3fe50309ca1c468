"""`gen3dexport verify`: the files of a bundle against its manifest."""

from __future__ import annotations

from gen3dexport.cli.app import Bundle, Json, emit

EXAMPLE = "gen3dexport verify chair-maker"


def verify(bundle: Bundle, as_json: Json = False) -> None:
    """Check a bundle: every file against its recorded size and digest, the reports and every value of the manifest."""
    from gen3dexport.bundle.manifest import verify as verify_bundle
    from gen3dexport.runtime.pipeline import LoadedBundle

    manifest = verify_bundle(bundle)
    LoadedBundle(bundle, manifest).check_settings()
    count, size = len(manifest.files), sum(f.bytes for f in manifest.files.values())
    emit(
        as_json,
        {"bundle": str(bundle), "files": count, "bytes": size},
        f"{bundle}: {count} files, {size / 1e6:.1f} MB, all as recorded",
    )
