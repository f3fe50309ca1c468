"""`gen3dexport run`: one asset from a bundle into files."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gen3dexport.cli.app import LARGEST_SEED, Bundle, Json, emit
from gen3dexport.errors import UsageError, VerificationError

if TYPE_CHECKING:
    import numpy as np

    from gen3dexport.assets.edits import Edits

EXAMPLE = 'gen3dexport run chair-maker --prompt "a tall chair with four legs" -o chair.glb --render'


def notes() -> str:
    """What `--help` says below the options: which endings there are, and their frames."""
    from gen3dexport.assets.files import frames
    from gen3dexport.pages import viewer

    rows = [("ending", "holds", "axis", "unit with --size"), *frames(viewer.FILES)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*(f"{cell:{w}}" for cell, w in zip(row, widths, strict=False)), row[3]]) for row in rows]
    return "Files. All are right-handed; without --size, a unit is the edge of the model's cube.\n\n" + "\n".join(
        f"  {line.rstrip()}" for line in lines
    )


def run(
    bundle: Bundle,
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="What to make.")] = "",
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="A file; its ending, of those below, says what it holds (default asset.glb). May be given again.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            min=-1,
            max=LARGEST_SEED,
            help="Of the noise; the same seed makes the same asset. -1 draws one, which the result names.",
        ),
    ] = 0,
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
        str, typer.Option(help="What goes into the files, where one can hold several kinds (mesh, gaussians, ...).")
    ] = "",
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A field that the pipeline lets a run change, e.g. on_overflow=coarsen; may be given again.",
        ),
    ] = None,
    max_faces: Annotated[int | None, typer.Option(min=4, help="So many triangles at most; colours are kept.")] = None,
    largest_part: Annotated[
        bool, typer.Option("--largest-part", help="Leave out what hangs in the air beside the largest part.")
    ] = False,
    size: Annotated[
        float | None,
        typer.Option(help="Metres of the longest edge (an .stl is in millimetres); without, the model's cube is 1."),
    ] = None,
    sh_degree: Annotated[
        int | None,
        typer.Option(min=0, max=3, help="Harmonics of Gaussians' colours; 3 fills up with zeros, for older importers."),
    ] = None,
    render: Annotated[bool, typer.Option("--render", help="Also write a turntable picture beside the asset.")] = False,
    isolate: Annotated[
        bool, typer.Option("--isolate", help="Run the programs in a process of their own, which they alone can crash.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make an asset with a bundle."""
    from gen3dexport.assets.edits import Edits

    edits = Edits(largest_part or None, max_faces, sh_degree, size)
    outputs = out or [Path("asset.glb")]
    changed = _assigned(fields or [])
    made = generate(bundle, prompt, seed, features, outputs, render, image, cache, kind, changed, edits, isolate)
    lines = []
    for file in made["assets"]:
        counts = ", ".join(f"{value:,} {name}" for name, value in file.items() if name not in ("path", "kind"))
        lines.append(f"{file['path']}: {file['kind'].replace('_', ' ')} of {counts}")
    lines += [f"seed {made['seed']}"] if seed == -1 else []
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
    fields: Mapping[str, str] | None = None,
    edits: Edits | None = None,
    isolate: bool = False,
) -> dict[str, Any]:
    """Make the assets of one prompt and write them, with a turntable PNG beside the first if asked.

    Args:
        seed: of the noise; -1 draws one, which the result names.
        outputs: files; their endings say what goes in (`asset_files`).
        image: a picture to make it of, instead of a prompt.
        cache: keep what the encoder makes of a prompt or image, and use it when the same comes again.
        kind: of asset that every file must hold: mesh, gaussians, radiance_field; "" leaves it to the endings.
        fields: what the pipeline lets a run change, by name; the rest is as the recipe has it.
        edits: what is changed of the assets on their way into the files; the picture is of the first file's.
        isolate: run the programs in a process of their own.

    Raises:
        UsageError: for a bad prompt, image, features or output, before any network runs where it can be told.
        AccuracyError: when nothing came out.
        VerificationError: when the bundle was changed.
    """
    from gen3dexport.assets import files as asset_files
    from gen3dexport.assets.edits import Edits
    from gen3dexport.cli.tables import say_limits
    from gen3dexport.models.image_preparation import read_image
    from gen3dexport.pages import viewer
    from gen3dexport.runtime import condition_cache, load, load_isolated

    _check_text(prompt)
    seed = secrets.randbelow(2**32) if seed == -1 else seed
    for out in outputs:
        asset_files.check_output(out, kind, viewer.FILES)  # before the bundle, which may be large, is read
    array = _read_features(features) if features else None
    if image is not None and (prompt or features):
        raise UsageError("--image: the asset is made of the image alone; leave --prompt and --features out")
    picture_of = image if image is None or image.is_dir() else read_image(image)  # a folder has several views
    conditions, edits = condition_cache.folder() if cache else None, edits or Edits()
    while True:
        with load_isolated(bundle, conditions) if isolate else nullcontext(load(bundle, conditions)) as loaded:
            say_limits(loaded.manifest.recipe["name"], loaded.manifest.licences)
            if loaded.manifest.random_weights:
                raise UsageError(f"{bundle}: was built with random weights, for sizing; its assets would mean nothing")
            if fields:
                loaded.change(fields)
            made_kinds = loaded.settings.asset_kinds
            chosen = {out: asset_files.choose(out, made_kinds, kind, viewer.FILES) for out in outputs}
            edits.check(list(chosen.values()))
            start = time.perf_counter()
            try:
                loaded.load_programs()
                load_seconds, start = time.perf_counter() - start, time.perf_counter()
                made = loaded.generate_assets(prompt, seed, array, picture_of)
                seconds = time.perf_counter() - start
                break
            except VerificationError:
                if not loaded.replaced():
                    raise  # else a build has put another bundle here: that one is as good
    files: list[dict[str, Any]] = []
    written: dict[Path, Any] = {}
    factor = edits.factor(made[next(iter(chosen.values()))])
    for out, held in chosen.items():
        written[out] = edits.applied(made[held], factor, asset_files.format_of(held, out, viewer.FILES))
        asset_files.write(written[out], out, prompt, viewer.FILES)
        files.append({"path": str(out), "kind": held, **asset_files.counts(written[out])})
    result = {"assets": files, "prompt": prompt, "seed": seed, "picture": None}
    result |= {"seconds": seconds, "load_seconds": load_seconds, "image": None if image is None else str(image)}
    result["encoder"] = {name: {"calls": e.calls, "cached": e.cached} for name, e in loaded.encoders.items()}
    if picture:
        from gen3dexport.assets.draw import render

        path = outputs[0].with_suffix(".png")
        if path in outputs:  # a map of depth in 16 bits
            path = path.with_name(f"{path.stem}-picture.png")
        render.save_png(asset_files.turntable(edits.shaped(made[chosen[outputs[0]]])), path)
        result["picture"] = str(path)
    return result


def _check_text(prompt: str) -> None:
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError as error:  # Python keeps bytes of the command line that are no text as lone surrogates
        raise UsageError(f"--prompt {prompt!a}: no UTF-8 text from character {error.start + 1} on") from error


def _assigned(fields: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` texts as a mapping."""
    found = {}
    for text in fields:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise UsageError(f"--set {text}: write NAME=VALUE, e.g. --set on_overflow=coarsen")
        found[name.strip()] = value.strip()
    return found


def _read_features(path: Path) -> np.ndarray:
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a readable .npy file ({error})") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise UsageError(f"{path}: needs one array of floating-point features [L, C] or [2, L, C]")
    return array
