"""Depth Anything 3's network, as released and as it is built for one picture size and number of views.

Source: Lin et al. 2025, "Depth Anything 3".
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from gen3dexport.models.depth_anything_3.host.model import PATCH, Model
from gen3dexport.models.depth_anything_3.host.settings import Reference
from gen3dexport.models.depth_anything_3.networks.backbone import Backbone, ViewTaps
from gen3dexport.models.depth_anything_3.networks.cameras import CameraDecoder, CameraEncoder
from gen3dexport.models.depth_anything_3.networks.heads import SkyHead, ViewHead, released_head
from gen3dexport.networks.dpt import Upsampling
from gen3dexport.networks.half_precision import HalfBlocks


class Released(nn.Module):
    """The released tensors by their names; it has no forward of its own."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.backbone = nn.ModuleDict({"pretrained": Backbone(model.net)})
        self.model.head = released_head(model)
        if model.cam_enc is not None:
            self.model.cam_enc = CameraEncoder(model.cam_enc)
        if model.cam_dec is not None:
            self.model.cam_dec = CameraDecoder(model.cam_dec.dim_in)


@dataclass(frozen=True)
class Form:
    """What a network is built for.

    Attributes:
        size: height and width of the pictures; views: how many there are of a scene.
        posed: whether the views' poses are given; rays: whether rays are made, too.
    """

    size: tuple[int, int]
    views: int = 1
    reference: Reference = "saddle_balanced"
    upsampling: Upsampling = "resize"
    posed: bool = False
    rays: bool = False


class ViewNetwork(HalfBlocks):
    """Of pictures [B, S, 3, H, W] in ImageNet's normalisation, and poses [B, S, 9] where they are known: depth
    [B, S, H, W]; its confidence and the poses [B, S, 9], or the sky."""

    halved = "encoder"

    def __init__(self, released: Released, model: Model, form: Form) -> None:
        """Takes the parts of `released`."""
        super().__init__()
        parts = released.model
        grid = (form.size[0] // PATCH, form.size[1] // PATCH)
        backbone = parts.get_submodule("backbone.pretrained")
        assert isinstance(backbone, Backbone)
        self.encoder = ViewTaps(backbone, model.net, grid, form.views, form.reference, form.posed)
        head = parts.head
        self.head: nn.Module
        if model.any_view:
            self.head = ViewHead(head, model, grid, form.upsampling, form.rays)  # type: ignore[arg-type]
        else:
            self.head = SkyHead(head, grid, form.upsampling)  # type: ignore[arg-type]
        self.cameras = parts.get_submodule("cam_dec") if model.any_view else None
        self.posed = parts.get_submodule("cam_enc") if form.posed else None
        self.outputs = ("depth", "depth_conf", "pose") if model.any_view else ("depth", "sky")

    def steps(self, image: Tensor, pose: Tensor | None = None) -> dict[str, Tensor]:
        """All that is on the way to the results, and these, by name."""
        batch, views = image.shape[:2]
        tokens = None if self.posed is None else self.posed(pose)
        taken = self.encoder(image, tokens)
        found = dict(taken.steps)
        if tokens is not None:
            found["cam_enc"] = tokens
        found |= {name: value.unflatten(0, (batch, views)) for name, value in self.head(taken.tokens).items()}
        if self.cameras is not None:
            found["pose"] = self.cameras(taken.camera)
        return found

    def forward(self, image: Tensor, pose: Tensor | None = None) -> tuple[Tensor, ...]:
        found = self.steps(image, pose)
        return tuple(found[name] for name in self.outputs)
