"""Moving pictures as files: .gif, and .mp4 (H.264, which needs PyAV: extra `video`)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

PACKAGE, EXTRA = "av", "video"
_SHORTEST = 20  # milliseconds that viewers show a .gif's picture at least
_CLOCK = 12800  # ticks a second of an .mp4's times
_QUALITY = "18"  # x264's constant rate factor: no loss that is seen

Pictures = Sequence[NDArray[np.uint8]]
Seconds = NDArray[np.float64]


def gif(pictures: Pictures, seconds: Seconds) -> bytes:
    """An endless .gif of pictures [H, W, 3] of one size, each shown so long."""
    from PIL import Image

    every = [Image.fromarray(picture) for picture in pictures]
    waits = [max(_SHORTEST, round(1000 * float(wait))) for wait in seconds]
    stream = io.BytesIO()
    every[0].save(stream, format="GIF", save_all=True, append_images=every[1:], duration=waits, loop=0)
    return stream.getvalue()


def mp4(pictures: Pictures, seconds: Seconds) -> bytes:
    """An .mp4 of pictures [H, W, 3] of one size, each shown so long; an odd edge loses a pixel. Needs PyAV."""
    import av

    height, width = (edge // 2 * 2 for edge in pictures[0].shape[:2])
    rate = Fraction(len(pictures) / float(seconds.sum())).limit_denominator(1001)
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        film = container.add_stream("libx264", rate=rate, options={"crf": _QUALITY})
        film.width, film.height, film.pix_fmt = width, height, "yuv420p"
        film.thread_count = 1  # the same bytes on every machine
        film.codec_context.time_base = Fraction(1, _CLOCK)
        starts = np.concatenate([[0.0], np.cumsum(seconds)[:-1]])
        for picture, start in zip(pictures, starts, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
            frame.pts, frame.time_base = round(float(start) * _CLOCK), Fraction(1, _CLOCK)
            container.mux(film.encode(frame))
        container.mux(film.encode())
    return stream.getvalue()
