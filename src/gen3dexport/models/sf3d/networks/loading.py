"""From a released file (`model.safetensors`) to the components, strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Reading, Weights
from gen3dexport.models.sf3d.host.model import Model
from gen3dexport.models.sf3d.host.settings import GEOMETRY, OUTPUTS, TEXTURE, Settings
from gen3dexport.models.sf3d.networks.backbone import TwoStream
from gen3dexport.models.sf3d.networks.camera import CameraEmbedder, default_embedding
from gen3dexport.models.sf3d.networks.clip import ClipPicture, ClipTowers
from gen3dexport.models.sf3d.networks.estimators import GlobalEstimator, Material, MaterialHeads
from gen3dexport.models.sf3d.networks.image_encoder import ImageEncoder, ImageTokenizer
from gen3dexport.models.sf3d.networks.query import Decoder, Query
from gen3dexport.models.sf3d.networks.triplane import PLANES, TriplaneBackbone, TriplaneTokenizer, Upsampler
from gen3dexport.networks.checkpoints import check_fit, load_strictly, read_weights

PARTS: Mapping[str, tuple[str, ...]] = {
    "image_encoder": ("camera_embedder", "image_tokenizer"),
    "backbone": ("tokenizer", "backbone", "post_processor"),
    "material": ("image_estimator",),
    "geometry": ("decoder",),
    "texture": ("decoder",),
}
"""Parts of the released file, the first words of its tensors' names, by component."""

_CLIP = "image_estimator.model."
_MARK = "visual.conv1.weight"


class ImageEstimator(nn.Module):
    """The released tensors of the material's estimator."""

    def __init__(self, model: Model, text: bool) -> None:
        super().__init__()
        assert model.image_estimator is not None
        self.model = ClipTowers(model.image_estimator.clip, text)
        self.heads = MaterialHeads(model.image_estimator).heads


def part(name: str, model: Model, text: bool) -> nn.Module:
    """A part of the released file with random weights, its tensors under their released names.

    Args:
        text: with CLIP's text tower, which nothing uses.
    """
    match name:
        case "camera_embedder":
            return CameraEmbedder(model.camera_embedder.in_channels, model.camera_embedder.out_channels)
        case "image_tokenizer":
            return ImageTokenizer(model.image_tokenizer)
        case "tokenizer":
            return TriplaneTokenizer(model.tokenizer)
        case "backbone":
            return TwoStream(model.backbone)
        case "post_processor":
            return Upsampler(model.post_processor)
        case "image_estimator":
            return ImageEstimator(model, text)
        case "global_estimator":
            assert model.global_estimator is not None
            return GlobalEstimator(model.global_estimator)
        case _:
            return Decoder(model.decoder)


def names_of(model: Model) -> tuple[str, ...]:
    """The parts of a model's whole file."""
    optional = {"image_estimator": model.image_estimator, "global_estimator": model.global_estimator}
    every = dict.fromkeys([*(name for group in PARTS.values() for name in group), "global_estimator"])
    return tuple(name for name in every if optional.get(name, model) is not None)


class Parts(nn.Module):
    """Parts of the released file by name; the whole file has the field's box beside them."""

    def __init__(self, model: Model, component: str | None = None, text: bool = False) -> None:
        super().__init__()
        for name in names_of(model) if component is None else PARTS[component]:
            self.add_module(name, part(name, model, text))
        if component is None:
            self.register_buffer("bbox", torch.zeros(2, 3))

    def __getitem__(self, name: str) -> nn.Module:
        return self.get_submodule(name)


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A released state dict, CLIP's towers under `image_estimator.model.`, whatever the estimator's file calls them."""
    ends = [name for name in state if name.startswith("image_estimator.") and name.endswith(_MARK)]
    prefix = ends[0].removesuffix(_MARK) if len(ends) == 1 else _CLIP
    heads = "image_estimator.heads."
    return {
        _CLIP + name.removeprefix(prefix) if name.startswith(prefix) and not name.startswith(heads) else name: value
        for name, value in state.items()
    }


def has_text(state: Mapping[str, Tensor]) -> bool:
    """Whether a released file, by our names, has CLIP's text tower."""
    return f"{_CLIP}token_embedding.weight" in state


def check_whole(model: Model, state: Mapping[str, Tensor], where: str) -> None:
    """Check that a released state dict is that of the whole model.

    Raises:
        UsageError: with the tensors that are missing, unexpected or misshapen.
    """
    with torch.device("meta"):
        check_fit(Parts(model, text=has_text(state)).state_dict(), state, where)


def read_parts(model: Model, component: str, state: Mapping[str, Tensor], where: str) -> Parts:
    """The parts of a component with the weights of a released state dict.

    Raises:
        UsageError: with the tensors that are missing, unexpected or misshapen, of the whole file.
    """
    state = own_names(state)
    check_whole(model, state, where)
    made = Parts(model, component)
    wanted = made.state_dict().keys()
    load_strictly(made, {name: value for name, value in state.items() if name in wanted}, where)
    return made


def _image_encoder(made: Parts, settings: Settings) -> nn.Module:
    model, tokenizer, embedder = settings.model, made["image_tokenizer"], made["camera_embedder"]
    assert isinstance(tokenizer, ImageTokenizer) and isinstance(embedder, CameraEmbedder)
    encoder = ImageEncoder(tokenizer, model.cond_image_size)
    size = model.cond_image_size
    encoder.fold_camera(default_embedding(embedder, model.default_distance, model.default_fovy_deg, size))
    return encoder


def _backbone(made: Parts, _: Settings) -> nn.Module:
    tokens, streams, upsampler = made["tokenizer"], made["backbone"], made["post_processor"]
    assert isinstance(tokens, TriplaneTokenizer) and isinstance(streams, TwoStream) and isinstance(upsampler, Upsampler)
    return TriplaneBackbone(tokens, streams, upsampler)


def _material(made: Parts, settings: Settings) -> nn.Module:
    config, estimator = settings.model.image_estimator, made["image_estimator"]
    assert isinstance(estimator, ImageEstimator) and config is not None
    heads = MaterialHeads(config)
    heads.heads = estimator.heads
    return Material(ClipPicture(estimator.model.visual), heads)


def _query(names: tuple[str, ...]) -> Callable[[Parts, Settings], nn.Module]:
    def made(parts: Parts, settings: Settings) -> nn.Module:
        decoder = parts["decoder"]
        assert isinstance(decoder, Decoder)
        return Query(decoder, names, settings.model.radius, settings.model.plane_edge)

    return made


_NETWORKS: Mapping[str, Callable[[Parts, Settings], nn.Module]] = {
    "image_encoder": _image_encoder,
    "backbone": _backbone,
    "material": _material,
    "geometry": _query(GEOMETRY),
    "texture": _query(TEXTURE),
}


def load_component(name: str, settings: Settings, stem: Path, weights: Weights, reading: Reading) -> Component:
    """One component with the weights of `stem`.safetensors, with seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    model = settings.model
    if weights == "stored":
        path = stem.with_name(f"{stem.name}.safetensors")
        state = read_weights(path, reading.allow_pickle, reading.strip_prefix)
        return _component(name, _built(name, read_parts(model, name, state, str(path)), settings))
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _component(name, _built(name, Parts(model, name), settings))
    with torch.device("meta"):
        made = _component(name, _built(name, Parts(model, name), settings))
        return made.with_inputs(example_inputs(name, settings))


def _built(name: str, made: Parts, settings: Settings) -> nn.Module:
    return _NETWORKS[name](made, settings).eval().requires_grad_(False)


def example_inputs(name: str, settings: Settings) -> dict[str, Tensor]:
    """Inputs of a component, all zero."""
    model, chunk = settings.model, settings.chunk
    planes = (1, PLANES, (model.plane_edge + 2) ** 2, model.post_processor.out_channels)
    image = model.cond_image_size
    clip = 1 if model.image_estimator is None else model.image_estimator.clip.image_size
    shapes: Mapping[str, Mapping[str, tuple[int, ...]]] = {
        "image_encoder": {"image": (1, 3, image, image)},
        "backbone": {"features": (1, model.image_tokens, model.image_tokenizer.hidden_size)},
        "material": {"picture": (1, 3, clip, clip)},
        "geometry": {"planes": planes, "points": (1, chunk, 3)},
        "texture": {"planes": planes, "points": (1, chunk, 3)},
    }
    return {name: torch.zeros(shape) for name, shape in shapes[name].items()}


def _component(name: str, network: nn.Module) -> Component:
    return Component(name, network, {}, OUTPUTS[name], stack=getattr(network, "stack", None))
