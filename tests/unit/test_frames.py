"""Films: a folder's pictures in order, video files, and what is none of them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from gen3dexport.errors import UsageError
from gen3dexport.models.image_preparation import read_image
from gen3dexport.runtime.frames import open_film
from gen3dexport.runtime.outputs import numbered

BT_601, BT_709, UNSPECIFIED = 5, 1, 2


def pictures(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(folder / name)
    return folder


def video(path: Path, *grey: int, matrix: int = BT_709, size: tuple[int, int] = (64, 32)) -> Path:
    """Grey frames with an orange half on the left, their colours by a matrix that the file names."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "1"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv444p"
        stream.codec_context.colorspace = matrix
        for value in grey:
            image = np.full((size[1], size[0], 3), value, np.uint8)
            image[:, : size[0] // 2] = (220, 120, 20)
            used = "ITU601" if matrix == BT_601 else "ITU709"
            frame = av.VideoFrame.from_ndarray(image).reformat(format="yuv444p", dst_colorspace=used)
            frame.colorspace = matrix
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (("plate.1002.png", "plate.1001.png", "plate.1010.png"), {1001: "plate.1001.png", 1002: "plate.1002.png"}),
        (("v2_9.png", "v2_10.png"), {9: "v2_9.png", 10: "v2_10.png"}),
        (("b.png", "a.png"), {1: "a.png", 2: "b.png"}),
        (("a.7.png", "b.7.png", "b.12.png", "b.9.png"), {1: "a.7.png", 3: "b.9.png", 4: "b.12.png"}),
        (("IMG_0003.JPG", "readme.png"), {1: "IMG_0003.JPG", 2: "readme.png"}),
    ],
)
def test_pictures_are_numbered_as_their_names_are(
    names: tuple[str, ...], numbers: dict[int, str], tmp_path: Path
) -> None:
    film = open_film(pictures(tmp_path / "film", *names))
    found = {frame.number: frame.name for frame in film.frames()}
    assert film.count == len(found) == len(names) and [*found] == sorted(found)
    assert found.items() >= numbers.items()


def test_other_files_of_a_folder_are_no_frames(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "film", "a1.png", ".a2.png")
    (folder / "notes.txt").write_text("take 3")
    (folder / "a3.png").mkdir()
    assert [frame.name for frame in open_film(folder).frames()] == ["a1.png"]


@pytest.mark.parametrize("matrix", [BT_601, BT_709])
def test_frames_of_a_video_have_its_colours(matrix: int, tmp_path: Path) -> None:
    film = open_film(video(tmp_path / "a.mp4", 0, 100, 200, matrix=matrix))
    frames = list(film.frames())
    assert (film.count, film.rate, [f.number for f in frames]) == (3, 24.0, [1, 2, 3])
    for frame, grey in zip(frames, (0, 100, 200), strict=True):
        pixels = np.asarray(read_image(frame.image)).astype(int)
        assert pixels.shape == (32, 64, 3)
        assert np.abs(pixels[16, 48] - grey).max() <= 3 and np.abs(pixels[16, 16] - (220, 120, 20)).max() <= 4


def test_colours_of_a_large_video_that_names_no_matrix_are_those_of_players(tmp_path: Path) -> None:
    (frame,) = open_film(video(tmp_path / "a.mp4", 90, matrix=UNSPECIFIED, size=(64, 720))).frames()
    assert np.abs(np.asarray(frame.image)[300, 16].astype(int) - (220, 120, 20)).max() <= 4


def test_a_video_that_was_held_upright_is_upright(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", 90)
    content, one = path.read_bytes(), (1 << 16).to_bytes(4, "big")
    nothing, back = bytes(4), (-(1 << 16) & 0xFFFFFFFF).to_bytes(4, "big")
    plain = one + nothing * 3 + one + nothing * 3 + (1 << 30).to_bytes(4, "big")
    turned = nothing + one + nothing + back + nothing * 4 + (1 << 30).to_bytes(4, "big")  # a quarter, clockwise
    at = content.index(plain, content.index(b"tkhd"))
    path.write_bytes(content[:at] + turned + content[at + len(plain) :])
    (frame,) = open_film(path).frames()
    pixels = np.asarray(frame.image).astype(int)
    assert pixels.shape == (64, 32, 3)
    assert np.abs(pixels[16, 16] - (220, 120, 20)).max() <= 4 and np.abs(pixels[48, 16] - 90).max() <= 3  # left goes up


def test_what_is_no_film_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder or file"):
        open_film(tmp_path / "nothing.mp4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no pictures"):
        open_film(tmp_path / "empty")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UsageError, match="not a readable video"):
        open_film(tmp_path / "text.mp4")
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(UsageError, match="holds no video"):
        open_film(tmp_path / "sound.wav")


def test_a_film_s_own_pictures_are_not_replaced(tmp_path: Path) -> None:
    film = open_film(pictures(tmp_path / "film", "plate.0001.png", "plate.0002.png"))
    with pytest.raises(UsageError, match="is a picture of the film"):
        film.spare(tmp_path / "film" / "plate.png", numbered)
    film.spare(tmp_path / "film" / "depth.png", numbered)
    film.spare(tmp_path / "plate.png", numbered)
