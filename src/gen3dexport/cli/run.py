"""`gen3dexport run`: one asset from a bundle into files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gen3dexport.cli.app import Bundle, Json, emit
from gen3dexport.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

EXAMPLE = 'gen3dexport run chair-maker --prompt "a tall chair with four legs" -o chair.glb --render'


def run(
    bundle: Bundle,
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="What to make.")] = "",
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out",
            "-o",
            help="A file: .glb .obj .ply .stl .splat .usdc .html .npz (default asset.glb); may be given again.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise; the same seed makes the same asset.")] = 0,
    features: Annotated[
        Path | None, typer.Option(help="A .npy file of condition features [L, C] instead of a prompt.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="A picture instead of a prompt, best with a transparent background.")
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Keep what the encoder makes of a prompt or image, and use it.")
    ] = True,
    kind: Annotated[
        str, typer.Option(help="mesh, gaussians or radiance_field, where a file could hold another too.")
    ] = "",
    on_overflow: Annotated[
        str, typer.Option(help="More voxels than the bundle has room for: error, or coarsen (default: the recipe's).")
    ] = "",
    render: Annotated[bool, typer.Option("--render", help="Also write a turntable picture beside the asset.")] = False,
    as_json: Json = False,
) -> None:
    """Make an asset with a bundle."""
    made = generate(bundle, prompt, seed, features, out or [Path("asset.glb")], render, image, cache, kind, on_overflow)
    lines = []
    for file in made["assets"]:
        counts = ", ".join(f"{value:,} {name}" for name, value in file.items() if name not in ("path", "kind"))
        lines.append(f"{file['path']}: {file['kind'].replace('_', ' ')} of {counts}")
    lines += [f"made in {made['seconds']:.2f} s, after {made['load_seconds']:.1f} s of loading the programs"]
    lines += [f"{made['picture']}: turntable"] if made["picture"] else []
    emit(as_json, made, "\n".join(lines))


def generate(
    bundle: Path,
    prompt: str,
    seed: int,
    features: Path | None,
    outputs: Sequence[Path],
    picture: bool,
    image: Path | None = None,
    cache: bool = True,
    kind: str = "",
    on_overflow: str = "",
) -> dict[str, Any]:
    """Make the assets of one prompt and write them, with a turntable PNG beside the first if asked.

    Args:
        outputs: files; their endings say what goes in (`asset_files`).
        image: a picture to make it of, instead of a prompt.
        cache: keep what the encoder makes of a prompt or image, and use it when the same comes again.
        kind: of asset that every file must hold: mesh, gaussians, radiance_field; "" leaves it to the endings.
        on_overflow: what too many voxels do, `error` or `coarsen`; "" leaves it to the recipe that the bundle is of.

    Raises:
        UsageError: for a bad prompt, image, features or output, before any network runs where it can be told.
        AccuracyError: when nothing came out.
        VerificationError: when the bundle was changed.
    """
    from gen3dexport.assets import files as asset_files
    from gen3dexport.models.image_preparation import read_image
    from gen3dexport.pages import viewer
    from gen3dexport.runtime import condition_cache, load

    for out in outputs:
        asset_files.check_output(out, kind, viewer.FILES)  # before the bundle, which may be large, is read
    array = _read_features(features) if features else None
    if image is not None and (prompt or features):
        raise UsageError("--image: the asset is made of the image alone; leave --prompt and --features out")
    picture_of = None if image is None else read_image(image)
    loaded = load(bundle, conditions=condition_cache.folder() if cache else None)
    if loaded.manifest.random_weights:
        raise UsageError(f"{bundle}: was built with random weights, for sizing; its assets would mean nothing")
    if on_overflow:
        loaded.change({"on_overflow": on_overflow})
    made_kinds = loaded.settings.asset_kinds
    chosen = {out: asset_files.choose(out, made_kinds, kind, viewer.FILES) for out in outputs}
    start = time.perf_counter()
    loaded.load_programs()
    load_seconds, start = time.perf_counter() - start, time.perf_counter()
    made = loaded.generate_assets(prompt, seed, array, picture_of)
    seconds = time.perf_counter() - start
    files = []
    for out, held in chosen.items():
        asset_files.write(made[held], out, prompt, viewer.FILES)
        files.append({"path": str(out), "kind": held, **asset_files.counts(made[held])})
    result = {"assets": files, "prompt": prompt, "seed": seed, "picture": None}
    result |= {"seconds": seconds, "load_seconds": load_seconds, "image": None if image is None else str(image)}
    result["encoder"] = {name: {"calls": e.calls, "cached": e.cached} for name, e in loaded.encoders.items()}
    if picture:
        from gen3dexport.assets.draw import render

        path = outputs[0].with_suffix(".png")
        render.save_png(asset_files.turntable(made[chosen[outputs[0]]]), path)
        result["picture"] = str(path)
    return result


def _read_features(path: Path) -> np.ndarray:
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a readable .npy file ({error})") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise UsageError(f"{path}: needs one array of floating-point features [L, C] or [2, L, C]")
    return array
