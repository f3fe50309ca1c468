"""Point-E's host: noise schedules, the walk on a network whose answer is known, requests and configurations."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pointe_tiny import KNOBS, checkpoint

from gen3dexport.errors import UsageError
from gen3dexport.models import Request, clip_files, point_e
from gen3dexport.models.clip_files import ClipText, ClipVision, read_half
from gen3dexport.models.heun_sampler import sample, steps_of
from gen3dexport.models.normalisation import CLIP
from gen3dexport.models.point_e.host.model import read_model
from gen3dexport.models.point_e.host.schedule import LARGEST_STRETCH, Level, signal, timestep, walk
from gen3dexport.models.run_fields import with_run_fields

RELEASED = Path(__file__).parents[3] / "weights"


def test_the_schedules_are_their_equations() -> None:
    left, beta = 1.0, []
    for i in range(1024):
        a, b = (math.cos((t / 1024 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in (i, i + 1))
        beta.append(min(1 - b / a, 0.999))
    for step, one in enumerate(beta):
        left *= 1 - one
        assert signal("cosine")[step] == pytest.approx(left, rel=1e-9)
    first, last = 1 - signal("linear")[0], 1 - signal("linear")[-1] / signal("linear")[-2]
    assert (first, last) == (pytest.approx(1e-4 * 1000 / 1024), pytest.approx(0.02 * 1000 / 1024))


@pytest.mark.parametrize("betas", ["cosine", "linear"])
def test_timesteps_lie_between_their_neighbours_and_are_cut(betas: Any) -> None:
    left = signal(betas)
    for step in (0, 1, 500, 1023):
        sigma = math.sqrt(1 / left[step] - 1)
        assert timestep(sigma, betas) == pytest.approx(step, abs=1e-3)
    assert timestep(1e-6, betas) == 0 and timestep(1e6, betas) == 1023
    middle = (left[700] + 3 * left[701]) / 4
    sigma = math.sqrt(1 / middle - 1)
    assert timestep(sigma, betas) == pytest.approx(700.75, abs=1e-3)
    level = Level.at(sigma, betas)
    assert level.t == 700 and level.of_input == pytest.approx(left[700] ** -0.5)
    assert level.of_noise == pytest.approx(math.sqrt(1 / left[700] - 1))


def test_the_released_walk_has_127_calls() -> None:
    steps = walk(64, 120.0, 3.0)
    assert sum(step.calls for step in steps) == 127 and len(steps) == 64
    assert steps[0].sigma == pytest.approx(120, rel=1e-6) and steps[-1].sigma == pytest.approx(1e-3, rel=1e-5)
    assert steps[-1].after == 0 and steps[10].after == steps[11].sigma
    share = (120 ** (1 / 7) + 10 / 63 * (1e-3 ** (1 / 7) - 120 ** (1 / 7))) ** 7
    assert steps[10].sigma == pytest.approx(share, rel=1e-5)
    assert steps[10].stretched == pytest.approx(share * (1 + 3 / 64), rel=1e-5)
    assert steps[10].fresh == pytest.approx(share * math.sqrt((1 + 3 / 64) ** 2 - 1), rel=1e-4)
    wild = walk(2, 160.0, 3.0)
    assert wild[0].stretched == pytest.approx(160 * (1 + LARGEST_STRETCH), rel=1e-5)
    assert all(step.fresh == 0 and step.stretched == step.sigma for step in walk(4, 160.0, 0.0))


def test_heun_follows_a_field_that_is_known() -> None:
    """Of data that are one number spread by 0.5 the best prediction is known, and so is where a walk ends."""
    center, spread = 3.0, 0.5

    def denoised(x: np.ndarray, sigma: float) -> np.ndarray:
        return center + (x - center) * spread**2 / (spread**2 + sigma**2)

    x = np.linspace(-200, 200, 9)
    errors = []
    for count in (20, 40):
        end, _ = sample(denoised, x, steps_of(np.geomspace(80, 1e-3, count)))
        exact = center + (x - center) * spread / math.hypot(spread, 80)
        errors.append(float(np.abs(end - exact).max()))
    assert errors[0] < 0.1 and errors[1] < errors[0] / 3  # second order


def test_fresh_noise_is_added_where_a_step_asks() -> None:
    seen = []
    steps = steps_of([4.0, 1.0], 0.25)
    fresh = np.asarray([[1.0], [10.0]])
    sample(lambda x, sigma: seen.append((float(x[0]), sigma)) or np.zeros(1), np.zeros(1), steps, fresh)  # type: ignore[func-returns-value]
    assert seen[0] == (pytest.approx(math.sqrt(25 - 16)), pytest.approx(5.0))
    assert seen[2][1] == pytest.approx(1.25)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints by what they make clouds of; those ending in `-bare` lack CLIP."""
    place = tmp_path_factory.mktemp("pointe")
    found = {name: checkpoint(place / name, name) for name in ("image", "text", "nothing")}
    return found | {f"{name}-bare": checkpoint(place / f"{name}-bare", name, clip=False) for name in ("image", "text")}


def _picture() -> np.ndarray:
    return np.full((20, 30, 3), 200, np.uint8)


BAD_REQUESTS = [
    ("image", Request(), "image: missing"),
    ("image", Request("a chair"), "prompt: this model makes an asset of a picture alone"),
    ("image", Request(features=np.zeros((9, 20))), "features: this model takes a picture"),
    ("image", Request(image="/nowhere.png"), "/nowhere.png: not a readable image"),
    ("image", Request(image=np.zeros((3, 300, 3), np.uint8)), "300 x 3 pixels"),
    ("image-bare", Request(image=_picture()), "built without its image encoder"),
    ("image-bare", Request(features=np.zeros((20, 9))), r"shape \[20, 9\], and the model takes .* \[9, 20\]"),
    ("image-bare", Request(features=np.full((9, 20), np.nan)), "finite"),
    ("text", Request(), "prompt: empty"),
    ("text", Request(image=_picture()), "image: this model makes an asset of a prompt"),
    ("text", Request(features=np.ones(20)), "features: of length 4.47, and CLIP's vector has length 1"),
    ("text", Request(features=np.ones(7)), r"features: shape \[7\]"),
    ("text-bare", Request("a chair"), "built without its text encoder"),
    ("nothing", Request("a chair"), "prompt: this model makes clouds of nothing"),
    ("nothing", Request(image=_picture()), "image: this model makes clouds of nothing"),
]


@pytest.mark.parametrize(("name", "request_", "message"), BAD_REQUESTS)
def test_bad_requests(name: str, request_: Request, message: str, folders: dict[str, Path]) -> None:
    folder = folders[name]
    settings = point_e.read_settings(folder, point_e.Knobs(), False)
    with pytest.raises(UsageError, match=message):
        point_e.begin(settings, request_, folder / "clip-vit-large-patch14", np)


def test_what_is_left_out_is_said(folders: dict[str, Path]) -> None:
    left = {name: point_e.read_settings(f, point_e.Knobs(), False).left_out for name, f in folders.items()}
    assert left == {
        "image": (),
        "text": (),
        "nothing": (),
        "image-bare": ("image_encoder",),
        "text-bare": ("text_encoder",),
    }
    random = point_e.read_settings(folders["text-bare"], point_e.Knobs(), False)
    assert random.clip_text is None
    released = point_e.read_settings(RELEASED / "Point-E-base40M-textvec", point_e.Knobs(), True)
    assert released.clip_text == ClipText() and released.left_out == ()


def test_the_end_mark_is_where_the_prompt_ends(folders: dict[str, Path]) -> None:
    folder = folders["text"]
    settings = point_e.read_settings(folder, point_e.Knobs(), False)
    state = point_e.begin(settings, Request("red chair"), folder / "clip-vit-large-patch14", np)
    assert state["ids"][0, :4].tolist() == [0, 7, 3, 1] and state["end"][0].argmax() == 3 and state["end"].sum() == 1
    state = point_e.begin(settings, Request("chair " * 40), folder / "clip-vit-large-patch14", np)
    assert state["end"][0].argmax() == 10 and state["ids"][0, 10] == 1  # cut, the end mark stays


def _changed(tmp_path: Path, change: Callable[[dict[str, Any]], None], made_of: str = "image") -> Path:
    folder = checkpoint(tmp_path, made_of)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("upsampler"), "upsampler: Field required"),
        (lambda c: c["base"].update(name="CLIPImagePointDifusionTransformer"), "did you mean 'CLIPImagePointDiffusion"),
        (lambda c: c["base"].update(width=50), "width=50 is no multiple of 4 heads"),
        (lambda c: c["base"].update(time_token_cond=False), "base.time_token_cond"),
        (lambda c: c["base"].update(input_channels=3), "base.input_channels"),
        (lambda c: c["base"].update(surprise=1), "base.surprise"),
        (lambda c: c["base"].update(file="../other"), "base.file"),
        (lambda c: c["base"].update(n_ctx=11), "must be equal, and are 11 and 10"),
        (lambda c: c["sdf"].update(n_ctx=12), "must be equal, and are 40 and 12"),
        (lambda c: c["base"].update(clip_grid_size=2), "grids of base and upsampler must be equal"),
        (lambda c: c.update(made_of="text"), "made_of is 'text', and a CLIPImageGridPointDiffusionTransformer makes"),
        (lambda c: c.update(made_of="words"), "made_of"),
        (lambda c: c.update(base=c["upsampler"]), "base makes a cloud of nothing and upsampler a denser one"),
        (lambda c: c["upsampler"].update(channel_scales=[0, 2, 2, 1, 1, 1]), "channel_scales: 0 cannot be undone"),
        (lambda c: c["base"].update(channel_biases=[1, 0, 0, -1, -1, -1]), "channel_biases of base and upsampler"),
    ],
)
def test_bad_configurations(change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        read_model(_changed(tmp_path, change))


def test_a_missing_configuration_says_where_one_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the release has none: copy the one of weights/Point-E-base40M"):
        read_model(tmp_path)


def test_a_mesh_needs_its_network(tmp_path: Path) -> None:
    folder = _changed(tmp_path, lambda config: config.pop("sdf"))
    assert not point_e.read_settings(folder, point_e.Knobs(), False).mesh
    with pytest.raises(UsageError, match=r"knobs.mesh: .*config.json has no sdf"):
        point_e.read_settings(folder, point_e.Knobs(mesh=True), False)


def test_encoders_that_do_not_fit_are_told(folders: dict[str, Path], tmp_path: Path) -> None:
    def chosen(name: str, folder: str) -> point_e.Settings:
        return point_e.read_settings(folders[name], point_e.Knobs(encoder=folder), False)

    with pytest.raises(UsageError, match=r"knobs.encoder: .*nowhere: no config.json"):
        chosen("image", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="makes clouds of nothing, so it has no encoder"):
        chosen("nothing", "none")
    own = folders["image"] / "clip-vit-large-patch14"
    assert chosen("image-bare", str(own)).clip_folder == str(own)
    other = tmp_path / "clip"
    other.mkdir()
    config = json.loads((own / "config.json").read_text())

    def wrote(**changes: Any) -> None:
        (other / "config.json").write_text(json.dumps({**config, **changes}))

    wrote(model_type="siglip")
    with pytest.raises(UsageError, match="model_type is 'siglip', and this pipeline takes clip"):
        chosen("image", str(other))
    wrote(vision_config={**config["vision_config"], "patch_size": 21})
    with pytest.raises(UsageError, match=r"must be equal, and are \(20, 4\) and \(20, 9\)"):
        chosen("image", str(other))
    wrote(vision_config={**config["vision_config"], "num_attention_heads": 3})
    with pytest.raises(UsageError, match="hidden_size=20 is no multiple of 3 heads"):
        chosen("image", str(other))
    wrote(projection_dim=24)
    with pytest.raises(UsageError, match=r"tokenizer.json: not found; copy it from openai/clip"):
        chosen("text", str(other))
    (other / "tokenizer.json").write_bytes((own / "tokenizer.json").read_bytes())
    with pytest.raises(UsageError, match="must be equal, and are 24 and 20"):
        chosen("text", str(other))
    with pytest.raises(UsageError, match=r"no object"):
        wrote(text_config=3)
        chosen("text", str(other))


def test_a_vector_of_a_picture_cannot_be_given(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs both its vector and its grid"):
        point_e.read_settings(checkpoint(tmp_path, "imagevec", clip=False), point_e.Knobs(), False)


def test_clip_reads_the_released_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", "text_config": {}, "vision_config": {}}))
    assert read_half(tmp_path, ClipText) == ClipText() and read_half(tmp_path, ClipVision) == ClipVision()
    assert ClipVision().grid == (1024, 256) and ClipText().projection_dim == 768


def test_a_picture_s_middle_is_taken_on_white() -> None:
    picture = np.zeros((40, 80, 4), np.uint8)
    picture[:, 20:60] = [255, 0, 0, 255]
    found = clip_files.pixels(picture, 14)
    assert found.shape == (1, 3, 14, 14) and found.dtype == np.float32
    np.testing.assert_allclose(found[0, :, 7, 7], [(1 - 0.48145466) / 0.26862954, *(-m / s for m, s in ((0.4578275, 0.26130258), (0.40821073, 0.27577711)))], atol=1e-4)  # fmt: skip  # noqa: E501
    clear = clip_files.pixels(np.zeros((9, 9, 4), np.uint8), 14)
    assert clear[0, 0].min() == pytest.approx((1 - 0.48145466) / 0.26862954, abs=1e-4)
    same = np.random.default_rng(0).integers(0, 256, (14, 14, 3), np.uint8)
    back = clip_files.pixels(Image.fromarray(same), 14)[0].transpose(1, 2, 0)
    np.testing.assert_allclose(back * np.float32(CLIP.std) + np.float32(CLIP.mean), same / 255, atol=1e-6)


def test_released_defaults() -> None:
    image = point_e.read_settings(RELEASED / "Point-E-base40M", point_e.Knobs(), True)
    assert (image.base.steps, image.base.guidance_scale, image.base.churn, image.base.sigma_max) == (64, 3, 3, 120)
    upsampler = image.upsampler
    assert (upsampler.steps, upsampler.guidance_scale, upsampler.churn, upsampler.sigma_max) == (64, 3, 0, 160)
    assert image.batches == (2, 2) and image.resolution == 128 and image.chunk == 4096
    text = point_e.read_settings(RELEASED / "Point-E-base40M-textvec", point_e.Knobs(), True)
    assert (text.base.guidance_scale, text.upsampler.guidance_scale, text.batches) == (3, 0, (2, 1))
    alone = point_e.read_settings(RELEASED / "Point-E-base40M-uncond", point_e.Knobs(), True)
    assert (alone.base.guidance_scale, alone.upsampler.guidance_scale, alone.batches) == (0, 0, (1, 1))
    first, second = image.stages()
    assert (first.betas, second.betas) == ("cosine", "linear")


def test_run_fields(folders: dict[str, Path]) -> None:
    settings = point_e.read_settings(folders["image"], point_e.Knobs(**KNOBS), False)
    changed = with_run_fields(settings, {"base.steps": "7", "upsampler.guidance_scale": "1", "resolution": "32"})
    assert changed.base.steps == 7 and changed.resolution == 32
    assert not changed.stages()[1].guided and changed.stages()[1].batched
    for field, value in (("base.steps", "0"), ("base.churn", "-1"), ("coarse", "x"), ("upsampler.sigma_max", "0")):
        with pytest.raises(UsageError, match=rf"{field}={value}"):
            with_run_fields(settings, {field: value})
    with pytest.raises(UsageError, match="chunk: this pipeline has no such field"):
        with_run_fields(settings, {"chunk": "100"})


def test_noise_is_drawn_for_the_steps_that_add_it(folders: dict[str, Path]) -> None:
    settings = point_e.read_settings(folders["image"], point_e.Knobs(**KNOBS), False)
    state = point_e.begin(settings, Request(image=_picture(), seed=4), folders["image"], np)
    assert state["base_noise"].shape == (4, 1, 6, 10) and state["upsampler_noise"].shape == (1, 1, 6, 30)
