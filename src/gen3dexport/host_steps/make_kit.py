"""Make a conformance kit: a bundle's programs under the reference interpreter, every value kept."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport import __version__
from gen3dexport.assets import kinds
from gen3dexport.bundle.drafts import writing
from gen3dexport.bundle.manifest import Manifest
from gen3dexport.documents.host_steps import CallProgram, FlowEuler, HostSteps, Noise, Operation, Tokenize, makes, takes
from gen3dexport.errors import UsageError, VerificationError
from gen3dexport.host_steps import interpret, token_cases
from gen3dexport.host_steps.check_kit import first_score
from gen3dexport.host_steps.kit import INDEX, Kit, KitRequest, NoiseCase, StepValues, TokenCase, Tolerance, kit_text
from gen3dexport.host_steps.kit_readme import readme
from gen3dexport.models import Request
from gen3dexport.models.tokens import token_ids
from gen3dexport.runtime.pipeline import LoadedBundle, to_numpy

REQUESTS = 2
SEEDS = (0, 1, 42, 2**63 - 1)
FIRST, ALL = 64, 100_000
"""Numbers of a seed that the kit has, and that its digest is of."""
EXACT, LAST_BIT, FLOAT32, QUANTIZED = 0.0, 1e-7, 1e-5, 5e-2
"""Relative L2 of values that are given, of noise, of those made by float32 programs alone, or by others: a last-bit
difference before a rounding to eight bits grows over a sampler's calls."""
SCORES = {FLOAT32: 0.995, QUANTIZED: 0.98}
"""Floors of an asset's first score. Two runtimes' int8 programs give occupancies of an IoU of 0.99. Scores of meshes
are of points drawn on them: those of float32 programs stay a little below 1."""
ENDINGS = (".glb", ".ply")


def make_kit(loaded: LoadedBundle, out: Path) -> Kit:
    """Write the kit of a bundle into the folder `out`, whole or not at all; a kit that was there is replaced.

    Raises:
        UsageError: when the bundle declares no host steps or has random weights, or `out` is something else than a kit.
        VerificationError: when the host steps do not make what the bundle's own pipeline makes.
    """
    declared = declared_steps(loaded)
    with writing(out, INDEX, "kit") as draft:
        requests = [_run(loaded, declared, k, draft) for k in range(REQUESTS)]
        close = tolerances(loaded.manifest, declared)
        kit = Kit(
            gen3dexport=__version__,
            bundle=loaded.manifest.digest,
            recipe=loaded.manifest.recipe["name"],
            target=loaded.manifest.target["name"],
            host_steps=declared,
            requests=tuple(requests),
            noise=tuple(_noise(seed, draft) for seed in SEEDS) if _has(declared, Noise) else (),
            tokens=tuple(_tokens(loaded, declared)),
            tolerances={value: Tolerance(relative_l2=far) for value, far in close.items()},
            scores={kind: SCORES[max(close[rule.value], FLOAT32)] for kind, rule in declared.assets.items()},
        )
        (draft / INDEX).write_text(kit_text(kit), encoding="utf-8")
        (draft / "README.md").write_text(readme(kit), encoding="utf-8")
    return kit


def declared_steps(loaded: LoadedBundle) -> HostSteps:
    """The host steps in a bundle's manifest.

    Raises:
        UsageError: when there are none, or its weights are random.
    """
    manifest = loaded.manifest
    if manifest.host_steps is None:
        raise UsageError(
            f"{loaded.folder}: its manifest has no host steps: family {manifest.family} declares none for these "
            "settings, or an older gen3dexport built it (then build it again)"
        )
    if manifest.random_weights:
        raise UsageError(f"{loaded.folder}: was built with random weights, for sizing; its assets would mean nothing")
    return manifest.host_steps


def calls(loaded: LoadedBundle) -> interpret.Programs:
    """A bundle's programs as the interpreter takes them; integers become those of the program's inputs."""

    def call(component: str, inputs: interpret.Arrays) -> interpret.Arrays:
        record = loaded.record(component)
        program = loaded.program(record)
        given = {name: program.xp.asarray(value.astype(record.inputs[name].dtype)) for name, value in inputs.items()}
        return to_numpy(program(given))

    return call


def tolerances(manifest: Manifest, declared: HostSteps) -> dict[str, float]:
    """How far every value may be from the kit's, by what it is made with."""
    found: dict[str, float] = {}
    for step in declared.steps:
        own = LAST_BIT if isinstance(step, Noise) else EXACT
        if isinstance(step, CallProgram | FlowEuler):
            program = manifest.component(step.component)
            own = FLOAT32 if program.scheme == "fp32" and not program.rules else QUANTIZED
        far = max([own, *(found[value] for value in takes(step))])
        found |= dict.fromkeys(makes(step), far)
    return found


def _has(declared: HostSteps, operation: type[Operation]) -> bool:
    return any(isinstance(step, operation) for step in declared.steps)


def _request(manifest: Manifest, declared: HostSteps, number: int) -> Request:
    """The golden prompt of that number (the last one again where there are fewer), or seeded features."""
    golden = manifest.recipe["golden"]
    seed, prompts = golden["seed"] + number, golden["prompts"]
    features = None
    if (shape := declared.request.features) is not None:
        features = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    prompt = prompts[min(number, len(prompts) - 1)] if declared.request.prompt else ""
    return Request(prompt, seed, features)


def _run(loaded: LoadedBundle, declared: HostSteps, number: int, draft: Path) -> KitRequest:
    """One request's values and assets into the folder of its number."""
    request = _request(loaded.manifest, declared, number)
    (draft / str(number)).mkdir()
    steps: list[StepValues] = []
    latents: list[str] = []

    def save(name: str, array: Any) -> str:
        np.save(draft / f"{number}/{name}.npy", np.ascontiguousarray(array) if np.ndim(array) else array)
        return f"{number}/{name}.npy"

    def on_step(_: int, step: Operation, made: interpret.Arrays) -> None:
        steps.append(StepValues(op=step.op, values={n: save(n, a) for n, a in made.items()}, latents=tuple(latents)))
        latents.clear()

    def on_latent(output: str, step: int, latent: np.ndarray) -> None:
        latents.append(save(f"{output}.{step}", latent))

    features = None if request.features is None else save("features", request.features)
    values = interpret.run(declared, request, loaded.folder, calls(loaded), on_step, on_latent)
    made = interpret.assets(declared, values)
    _check(loaded, request, made)
    files = {kind: tuple(_files(kind, asset, number, draft)) for kind, asset in made.items()}
    arrays = {kind: kinds.of(kind).arrays(asset) for kind, asset in made.items()}
    return KitRequest(
        prompt=request.prompt,
        seed=request.seed,
        features=features,
        steps=tuple(steps),
        assets={kind: {n: save(f"{kind}.{n}", a) for n, a in some.items()} for kind, some in arrays.items()},
        files={kind: written for kind, written in files.items() if written},
    )


def _files(kind: str, asset: Any, number: int, draft: Path) -> Iterator[str]:
    """The asset as files."""
    if kinds.of(kind).problem(asset) is not None:
        return
    for ending in ENDINGS:
        if (format_ := kinds.of(kind).FILES.get(ending)) is not None:
            name = f"{number}/{kind}{ending}"
            (draft / name).write_bytes(format_(asset, ""))
            yield name


def _check(loaded: LoadedBundle, request: Request, made: Mapping[str, Any]) -> None:
    """Hold the assets to those of the bundle's own pipeline."""
    expected = loaded.family.make_assets(to_numpy(loaded.run(request)), loaded.settings)
    if made.keys() != expected.keys():
        ours, theirs = ", ".join(made), ", ".join(expected)
        raise VerificationError(
            f"{loaded.folder}: its host steps make {ours}, and its pipeline {theirs}; build the bundle again"
        )
    for kind, asset in expected.items():
        if not (score := first_score(kind, made[kind], asset)) >= SCORES[FLOAT32]:
            raise VerificationError(
                f"{loaded.folder}: its host steps do not make the pipeline's {kind} (first score {score:.4f}); build "
                "the bundle again"
            )


def _noise(seed: int, draft: Path) -> NoiseCase:
    numbers = np.random.default_rng(seed).standard_normal(ALL, dtype=np.float32)
    (draft / "noise").mkdir(exist_ok=True)
    np.save(draft / f"noise/{seed}.npy", numbers[:FIRST])
    digest = hashlib.sha256(numbers.astype("<f4").tobytes()).hexdigest()
    return NoiseCase(seed=seed, first=f"noise/{seed}.npy", count=ALL, sha256=digest)


def _tokens(loaded: LoadedBundle, declared: HostSteps) -> Iterator[TokenCase]:
    files = {step.file for step in declared.steps if isinstance(step, Tokenize)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of words without a token, which are here on purpose
        for file in sorted(files)[:1]:
            for text in (*token_cases.TEXTS, *token_cases.DIFFERING):
                ids = tuple(token_ids(text, loaded.folder / file))
                yield TokenCase(text=text, ids=ids, may_differ=token_cases.DIFFERING.get(text))
