"""`gen3dexport run`: one asset from a bundle into files."""

from __future__ import annotations

import secrets
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer

from gen3dexport.cli.app import LARGEST_SEED, Bundle, Json, emit
from gen3dexport.errors import GenExportError, UsageError, VerificationError

if TYPE_CHECKING:
    import numpy as np

    from gen3dexport.runtime import LoadedBundle
    from gen3dexport.runtime.frames import Film
    from gen3dexport.runtime.isolated import IsolatedBundle
    from gen3dexport.runtime.outputs import Chosen, Outputs

    AnyBundle: TypeAlias = LoadedBundle | IsolatedBundle

T = TypeVar("T")

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
        Path | None,
        typer.Option(
            help="A picture instead of a prompt, best with a transparent background; a folder of them for several."
        ),
    ] = None,
    arrays: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="A .npz or .safetensors file of arrays by name (a model of one's own), or a camera path (.json).",
        ),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER_OR_FILE",
            help="A film instead of a picture: each frame makes files of its own (-o depth.exr: depth.0001.exr, ...). "
            "A model of films makes one asset of it, and --image names views of its first frame.",
        ),
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
    from gen3dexport.bundle.report_files import refuse_inside
    from gen3dexport.runtime.outputs import Outputs

    edits = Edits(largest_part or None, max_faces, sh_degree, size)
    outputs = Outputs(tuple(out or [Path("asset.glb")]), kind, edits, render)
    changed = _assigned(fields or [])
    seed = secrets.randbelow(2**32) if (drawn := seed == -1) else seed
    _check_text(prompt)
    sources = {"--prompt": prompt, "--features": features, "--image": image, "--input": arrays, "--video": video}
    given = [option for option, value in sources.items() if value]
    if len(given) > 1 and given not in (["--prompt", "--features"], ["--image", "--video"]):
        raise UsageError(f"{given[-1]}: assets are made of one thing; leave {' and '.join(given[:-1])} out")
    outputs.check()  # before the bundle, which may be large, is read
    for path in outputs.paths:
        refuse_inside(bundle, path)
    if video is not None:
        made = film(bundle, video, seed, outputs, changed, isolate, image)
        told = f"{made['frames']} frames, {made['frames_per_second']:.2f} a second"
        if "assets" in made:
            lines = [_told(file) for file in made["assets"]]
        else:
            lines = [f"{first} to {last}" for first, last in zip(made["first"], made["last"], strict=True)]
    else:
        made = generate(bundle, prompt, seed, features, outputs, image, cache, changed, isolate, arrays)
        lines = [_told(file) for file in made["assets"]]
        told = f"made in {made['seconds']:.2f} s"
    lines += [fact["summary"] for fact in made.get("facts", {}).values()]
    lines += [f"seed {seed}"] if drawn else []
    within = f" in {made['runtime']}" if made["runtime"] else ""
    lines += [f"{told}, after {made['load_seconds']:.1f} s of loading the programs{within}"]
    lines += [f"{made['picture']}: turntable"] if made.get("picture") else []
    emit(as_json, made, "\n".join(lines))


def _told(file: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{value:,} {name}" for name, value in file.items() if name not in ("path", "kind"))
    return f"{file['path']}: {file['kind'].replace('_', ' ')} of {counts}"


def generate(
    bundle: Path,
    prompt: str,
    seed: int,
    features: Path | None,
    outputs: Outputs,
    image: Path | None = None,
    cache: bool = True,
    fields: Mapping[str, str] | None = None,
    isolate: bool = False,
    arrays: Path | None = None,
) -> dict[str, Any]:
    """Make the assets of one prompt and write them.

    Args:
        seed: of the noise.
        image: a picture to make it of, instead of a prompt.
        cache: keep what the encoder makes of a prompt or image, and use it when the same comes again.
        fields: what the pipeline lets a run change, by name; the rest is as the recipe has it.
        isolate: run the programs in a process of their own.
        arrays: a file of arrays by name, for a model that takes such.

    Raises:
        UsageError: for a bad prompt, image, arrays, features or output, before any network runs where it can be told.
        AccuracyError: when nothing came out.
        VerificationError: when the bundle was changed.
    """
    from gen3dexport.runtime import condition_cache

    array = _read_features(features) if features else None
    named = read_arrays(arrays) if arrays else None
    picture_of: Any = image
    if image is not None and not image.is_dir():  # a folder has several views
        from gen3dexport.models.image_preparation import read_image

        picture_of = read_image(image)

    def make(loaded: AnyBundle, chosen: Chosen) -> tuple[Mapping[str, Any], float, Mapping[str, Any], Chosen]:
        start, loading = time.perf_counter(), loaded.load_seconds
        made = loaded.generate_assets(prompt, seed, array, picture_of, inputs=named)
        seconds = time.perf_counter() - start - (loaded.load_seconds - loading)
        return made, seconds, loaded.encoders, chosen

    conditions = condition_cache.folder() if cache else None
    (made, seconds, encoders, chosen), loading = _with(
        bundle, conditions, fields or {}, isolate, outputs, make, once=True
    )
    files, picture = outputs.write(made, chosen, prompt, outputs.factor(made, chosen))
    result: dict[str, Any] = {"assets": files, "prompt": prompt, "seed": seed, "picture": picture}
    result |= {"seconds": seconds, **loading, "image": None if image is None else str(image)}
    result["facts"] = outputs.facts(made)
    result["encoder"] = {name: {"calls": e.calls, "cached": e.cached} for name, e in encoders.items()}
    return result


def film(
    bundle: Path,
    path: Path,
    seed: int,
    outputs: Outputs,
    fields: Mapping[str, str] | None = None,
    isolate: bool = False,
    views: Path | None = None,
) -> dict[str, Any]:
    """Make the assets of every frame of a film and write them, frame by frame; arguments as of `generate`.

    Where the model is of films, one asset of the whole film.

    Args:
        path: a folder of pictures, or a video file.
        views: of the film's first frame, for a model of films.

    Raises:
        UsageError: for a film that cannot be read, or whose pictures the outputs would replace.
        AccuracyError: when nothing came out of a frame; what was made of the frames before it stays.
        VerificationError: when the bundle was changed.
    """
    import numpy as np

    from gen3dexport.cli.tables import progress_bar
    from gen3dexport.runtime.frames import open_film
    from gen3dexport.runtime.outputs import numbered

    source = open_film(path)
    for output in outputs.paths:
        source.spare(output, numbered)

    def make(loaded: AnyBundle, chosen: Chosen) -> dict[str, Any]:
        if getattr(loaded.settings, "takes_film", False):
            return _of_a_film(loaded, chosen, source, seed, outputs, views)
        if views is not None:
            raise UsageError(
                "--image: this bundle makes an asset of every frame by itself; leave --image or --video out"
            )
        numbers: list[int] = []
        seconds: list[float] = []
        factor, start = None, time.perf_counter()
        with progress_bar(source.count) as advance:
            for frame in source.frames():
                begun = time.perf_counter()
                try:
                    made = loaded.generate_assets(seed=seed, image=frame.image)
                    factor = outputs.factor(made, chosen) if factor is None else factor
                    outputs.write(made, chosen, frame.name, factor, frame.number)
                except GenExportError as error:
                    raise type(error)(f"{frame.name}: {error}; frames made before it: {len(numbers)}") from error
                numbers.append(frame.number)
                seconds.append(time.perf_counter() - begun)
                advance()
        whole = time.perf_counter() - start
        first, last = ([str(numbered(o, n)) for o in outputs.paths] for n in (numbers[0], numbers[-1]))
        found = {"video": str(path), "seed": seed, "frames": len(numbers), "first": first, "last": last}
        found |= {"seconds": whole, "frames_per_second": len(numbers) / whole, "source_frames_per_second": source.rate}
        return found | {f"p{p}_frame_seconds": float(np.percentile(seconds, p)) for p in (50, 90)}

    found, loading = _with(bundle, None, fields or {}, isolate, outputs, make)
    return found | loading


def _of_a_film(
    loaded: AnyBundle, chosen: Chosen, source: Film, seed: int, outputs: Outputs, views: Path | None
) -> dict[str, Any]:
    """Make one asset of a film, and write it."""
    count, start = 0, time.perf_counter()

    def frames() -> Iterator[Any]:
        nonlocal count
        for frame in source.frames():
            count += 1
            yield frame.image

    made = loaded.generate_assets(seed=seed, image=views, video=frames(), rate=source.rate)
    whole = time.perf_counter() - start
    files, picture = outputs.write(made, chosen, source.path.name, outputs.factor(made, chosen))
    found: dict[str, Any] = {"assets": files, "picture": picture, "video": str(source.path), "seed": seed}
    found |= {"frames": count, "image": None if views is None else str(views), "facts": outputs.facts(made)}
    return found | {"seconds": whole, "frames_per_second": count / whole, "source_frames_per_second": source.rate}


def _with(
    bundle: Path,
    conditions: Path | None,
    fields: Mapping[str, str],
    isolate: bool,
    outputs: Outputs,
    work: Callable[[AnyBundle, Chosen], T],
    once: bool = False,
) -> tuple[T, dict[str, Any]]:
    """What `work` makes with a loaded bundle and the kinds that go into the outputs; the seconds of loading, and what
    runs the programs.

    Where it makes one asset (`once`), programs are not all in memory together: each is loaded when its turn comes, and
    dropped after it. It is begun anew where a build has put another bundle there meanwhile: that one is as good.
    """
    from gen3dexport import backends
    from gen3dexport.cli.tables import say_limits
    from gen3dexport.runtime import LoadedBundle, load, load_isolated

    while True:
        with (
            load_isolated(bundle, conditions)
            if isolate
            else nullcontext(load(bundle, conditions, remember=False)) as loaded
        ):
            say_limits(loaded.manifest.recipe["name"], loaded.manifest.licences)
            if loaded.manifest.random_weights:
                raise UsageError(f"{bundle}: was built with random weights, for sizing; its assets would mean nothing")
            if fields:
                loaded.change(fields)
            chosen = outputs.choose(loaded.settings.asset_kinds)
            try:
                if once and isinstance(loaded, LoadedBundle):
                    loaded.keep_programs = False
                else:
                    loaded.load_programs()
                made = work(loaded, chosen)
                runtime = backends.runtime(backends.find(loaded.manifest.target["backend"]))
                return made, {"load_seconds": loaded.load_seconds, "runtime": runtime}
            except VerificationError:
                if not loaded.replaced():
                    raise


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


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz or .safetensors file by name, or of a camera path (.json); nothing of a file is run.

    Raises:
        UsageError: when it is missing, damaged, or of another format.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    from gen3dexport.documents.camera_path import read_camera_path

    if path.suffix.lower() == ".json":
        return read_camera_path(path)
    try:
        if path.suffix.lower() == ".safetensors":
            return dict(load_file(path))
        if path.suffix.lower() != ".npz":
            raise UsageError(
                f"{path}: needs a .npz or .safetensors file of arrays by name, or a .json of a camera path"
            )
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, SafetensorError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: no readable file of arrays ({error})") from error


def _read_features(path: Path) -> np.ndarray:
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a readable .npy file ({error})") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise UsageError(f"{path}: needs one array of floating-point features [L, C] or [2, L, C]")
    return array
