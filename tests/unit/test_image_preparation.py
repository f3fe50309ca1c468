"""An image made ready for an encoder: the subject cut out, centred, on black, normalised."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gen3dexport.errors import MissingError, UsageError
from gen3dexport.models import image_preparation
from gen3dexport.models.image_preparation import centred, cut_out, pixels, read_image, sample_image


def _square(colour: tuple[int, int, int] = (200, 100, 50)) -> np.ndarray:
    """A square of 40 x 20 pixels off the centre of a transparent 120 x 100 picture."""
    picture = np.zeros((100, 120, 4), np.uint8)
    picture[10:50, 70:90] = (*colour, 255)
    return picture


def test_the_subject_fills_the_middle_with_a_margin() -> None:
    made = centred(read_image(_square()), 46)  # 1.2 * 39, twice its half: 46 pixels, so nothing is scaled
    rows, columns = np.nonzero(made.any(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 43, 14, 33)
    assert (made[23, 23] == (200, 100, 50)).all()


def test_a_subject_at_the_border_gets_ground_around_it() -> None:
    picture = np.full((60, 60, 4), 255, np.uint8)
    picture[:, 30:] = 0
    made = centred(read_image(picture), 60)
    assert not made[0].any() and not made[-1].any()
    assert (made[30, 20] > 250).all() and not made[30, 58].any()


def test_half_transparent_pixels_darken_to_black() -> None:
    picture = _square((255, 255, 255))
    picture[20:40, 70:80, 3] = 128  # counts not as the subject, but is inside its box
    made = centred(read_image(picture), 46)
    assert (made[23, 18] == 128).all() and (made[23, 28] == 255).all()


def test_pixels_are_normalised_as_imagenet() -> None:
    made = pixels(_square((255, 255, 255)), 46)
    assert made.shape == (1, 3, 46, 46) and made.dtype == np.float32 and made.flags.c_contiguous
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(made[0, :, 23, 23], (1 - mean) / std, 1e-6)
    np.testing.assert_allclose(made[0, :, 0, 0], -mean / std, 1e-6)


def test_files_arrays_and_images_are_read_alike(tmp_path: Path) -> None:
    array = sample_image(3, 64)
    Image.fromarray(array).save(tmp_path / "ball.png")
    expected = pixels(array, 42)
    np.testing.assert_array_equal(pixels(tmp_path / "ball.png", 42), expected)
    np.testing.assert_array_equal(pixels(str(tmp_path / "ball.png"), 42), expected)
    np.testing.assert_array_equal(pixels(Image.fromarray(array), 42), expected)


def test_a_picture_lying_on_its_side_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    Image.new("RGB", (30, 20)).save(tmp_path / "side.jpg", exif=exif)
    assert read_image(tmp_path / "side.jpg").size == (20, 30)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((4, 4), np.uint8), "needs uint8"),
        (np.zeros((4, 4, 3), np.float32), "needs uint8"),
        ([np.zeros((4, 4, 3), np.uint8)] * 2, "needs one picture .*, not 2 pictures"),
        (7, "needs one picture .*, not int"),
        (np.zeros((40, 40, 4), np.uint8), "nothing in it is opaque"),
        ("/nowhere.png", "not a readable image"),
    ],
)
def test_bad_images(source: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pixels(source, 42)


def test_a_single_pixel_is_no_subject() -> None:
    picture = np.zeros((40, 40, 4), np.uint8)
    picture[5, 5] = 255
    with pytest.raises(UsageError, match="a pixel or two"):
        pixels(picture, 42)


def test_a_background_needs_rembg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_preparation, "find_spec", lambda name: None)
    opaque = np.full((40, 40, 4), 255, np.uint8)
    for picture in (opaque, opaque[..., :3].copy()):
        with pytest.raises(MissingError, match=r"gen3dexport\[background\]"):
            pixels(picture, 42)


@pytest.mark.parametrize("there", [True, False])
def test_rembg_is_asked_when_its_model_is_there(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    asked: list[tuple[int, int]] = []

    def remove(image: Image.Image, session: str) -> Image.Image:
        asked.append(image.size)
        alpha = np.zeros((image.height, image.width), np.uint8)
        alpha[100:300, 100:300] = 255
        return Image.fromarray(np.dstack([np.asarray(image), alpha]))

    rembg, sessions, u2net = (ModuleType(name) for name in ("rembg", "rembg.sessions", "rembg.sessions.u2net"))
    session = type("U2netSession", (), {"resolve_existing": lambda name: "a file" if there else None})
    vars(u2net)["U2netSession"] = session
    vars(rembg).update(remove=remove, new_session=lambda name: name)
    for name, module in {"rembg": rembg, "rembg.sessions": sessions, "rembg.sessions.u2net": u2net}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(image_preparation, "find_spec", lambda name: name)
    picture = Image.new("RGB", (2048, 1000), (10, 20, 30))
    if not there:
        with pytest.raises(MissingError, match="new_session"):
            cut_out(picture)
        return
    made = cut_out(picture)
    assert asked == [(1024, 500)] and made.mode == "RGBA"
    assert centred(made, 42).any()


def test_sample_images_differ_by_seed() -> None:
    first, second = sample_image(0), sample_image(1)
    assert first.shape == (256, 256, 4) and (first != second).any()
    assert set(np.unique(first[..., 3])) == {0, 255}


RAMP = np.tile(np.arange(256, dtype=np.uint8), (8, 1))


def _in_mode(mode: str) -> Image.Image:
    """The grey ramp in one of Pillow's modes, white at the end of the mode's range."""
    if mode.startswith("I;16"):
        kind = "<u2" if mode in ("I;16", "I;16L", "I;16N") else ">u2"
        return Image.frombytes(mode, (256, 8), (RAMP.astype(np.uint16) * 257).astype(kind).tobytes())
    if mode == "I":
        return Image.fromarray(RAMP.astype(np.int32) * 257)
    if mode == "F":
        return Image.fromarray((RAMP / 255).astype(np.float32))
    if mode == "LAB":
        return Image.merge("LAB", [Image.fromarray(RAMP), *[Image.new("L", (256, 8), 128)] * 2])
    grey = Image.fromarray(RAMP)
    steps = {"La": ("LA", "La"), "RGBa": ("RGBA", "RGBa"), "PA": ("LA", "PA"), "P": ("P",), "HSV": ("RGB", "HSV")}
    for step in steps.get(mode, ("RGB", mode)):
        grey = grey.convert(step)
    assert grey.mode == mode
    return grey


@pytest.mark.parametrize("mode", Image.MODES)
def test_every_mode_of_pillow_is_read_by_its_range_or_refused_by_name(mode: str) -> None:
    read = read_image(_in_mode(mode))
    assert read.mode == ("RGBA" if mode in ("LA", "La", "PA", "RGBA", "RGBa") else "RGB")
    found = np.asarray(read.convert("RGB")).astype(int)
    if mode == "1":  # black and white, dithered
        assert set(np.unique(found)) == {0, 255} and found[:, :64].mean() < 60 < 195 < found[:, 192:].mean()
        return
    expected = RAMP[0] / 255
    if mode == "LAB":  # the ramp is that of CIE's lightness, not of sRGB
        light = np.where(expected > 0.08, ((100 * expected + 16) / 116) ** 3, 100 * expected / 903.3)
        expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(found - 255 * expected[None, :, None]).max() <= (3 if mode == "LAB" else 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((4, 4), 70000, np.int32), r"mode I\) run from 70000 to 70000; need 0 to 65535"),
        (np.full((4, 4), 200, np.int32), r"mode I\) run from 200 to 200"),  # bytes in 32 bits?
        (np.full((4, 4), -1, np.int32), r"run from -1 to -1"),
        (np.full((4, 4), 255, np.float32), r"mode F\) run from 255 to 255; need 0 to 1"),
        (np.full((4, 4), np.nan, np.float32), r"run from nan to nan"),
    ],
)
def test_grey_values_whose_range_cannot_be_told_are_refused(values: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_image(Image.fromarray(values))


def test_a_transparent_grey_value_of_16_bits_is_a_background(tmp_path: Path) -> None:
    wide = RAMP.astype(np.uint16) * 257
    image = Image.fromarray(wide)
    image.save(tmp_path / "a.png", transparency=257 * 30)
    read = read_image(tmp_path / "a.png")
    assert read.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(read)[..., 3], np.where(RAMP == 30, 0, 255))
    np.testing.assert_array_equal(np.asarray(read)[..., 0], RAMP)


def _png(path: Path, bits: int, color: int, values: np.ndarray, clear: int) -> Path:
    """A PNG of grey (color 0) or RGB (2) values with one transparent value, written by hand: Pillow writes 8 or 16."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape
    if bits == 16:
        rows = [row.astype(">u2").repeat(3 if color == 2 else 1).tobytes() for row in values]
    else:
        each = np.unpackbits(values.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :]
        rows = [np.packbits(row).tobytes() for row in each.reshape(height, -1)]
    head = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    transparent = struct.pack(">H", clear) * (3 if color == 2 else 1)
    parts = chunk(b"IHDR", head) + chunk(b"tRNS", transparent)
    parts += chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


@pytest.mark.parametrize(("bits", "color"), [(1, 0), (2, 0), (4, 0), (16, 0), (16, 2)])
def test_the_transparent_value_of_a_png_is_in_its_own_bits(bits: int, color: int, tmp_path: Path) -> None:
    most = 2**bits - 1
    values = (np.arange(64).reshape(8, 8) * 1040) if bits == 16 else np.arange(64).reshape(8, 8) % (most + 1)
    for clear in (0, most // 2 // 1040 * 1040 if bits == 16 else most // 2, int(values.max())):
        read = np.asarray(read_image(_png(tmp_path / "a.png", bits, color, values, clear)))
        np.testing.assert_array_equal(read[..., 3], np.where(values == clear, 0, 255))
        assert np.abs(read[..., 0].astype(float) - values / most * 255).max() <= 1


@pytest.mark.parametrize(("signed", "white_is_zero"), [(False, False), (False, True), (True, False)])
def test_grey_tiffs_of_16_bits_say_what_white_is(signed: bool, white_is_zero: bool, tmp_path: Path) -> None:
    most = 32767 if signed else 65535
    values = np.rint(RAMP / 255 * most).astype("<i2" if signed else "<u2")
    entries = {256: 256, 257: 8, 258: 16, 259: 1, 262: 0 if white_is_zero else 1, 273: 8, 277: 1, 278: 8, 279: 4096}
    entries |= {339: 2 if signed else 1}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    end = struct.pack("<H", len(entries)) + directory + struct.pack("<I", 0)
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 8 + 4096) + values.tobytes() + end)
    read = np.asarray(read_image(tmp_path / "a.tif"))[..., 0].astype(int)
    assert np.abs(read - (255 - RAMP.astype(int) if white_is_zero else RAMP)).max() <= 1
