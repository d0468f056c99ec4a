"""Checking and shrinking encoded images while a dataset is prepared.

Each image is decoded once, as training will decode it: `PIL.Image.open(...).convert("RGB")`. The orientation tag of
EXIF is not applied, neither here nor in training: pixels are used as published, as the published protocols do.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from PIL import Image

from datasets.base import RawSample

JPEG_QUALITY = 95
_AHEAD_PER_THREAD = 4


def checked(samples: Iterable[RawSample], short_side: int | None) -> Iterator[tuple[RawSample, str | None]]:
    """Each sample in order, shrunk if asked for, with what is wrong with its image (None: nothing).

    Decodes on as many threads as there are cores; at most a few samples a thread are in memory.
    """
    threads = os.cpu_count() or 1
    waiting: deque[tuple[RawSample, Future[RawSample]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        try:
            for sample in samples:
                waiting.append((sample, pool.submit(prepared_image, sample, short_side)))
                if len(waiting) >= threads * _AHEAD_PER_THREAD:
                    yield _result(*waiting.popleft())
            while waiting:
                yield _result(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def prepared_image(sample: RawSample, short_side: int | None) -> RawSample:
    """The sample itself, or with its image reduced to `short_side` pixels (bicubic, antialiased) as JPEG of quality 95.

    An image that is no larger is kept as published, byte for byte. Raises what PIL raises for what it cannot decode.
    """
    with Image.open(io.BytesIO(sample.image)) as opened:
        image = opened.convert("RGB")
    if short_side is None or min(image.size) <= short_side:
        return sample
    scale = short_side / min(image.size)
    width, height = (max(short_side, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    image.info = {}  # comments and the like are not part of the picture
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return replace(sample, image=buffer.getvalue(), extension="jpg")


def _result(sample: RawSample, future: Future[RawSample]) -> tuple[RawSample, str | None]:
    try:
        return future.result(), None
    except Exception as error:  # PIL and its codecs raise errors of many classes for broken files; each one is reported
        return sample, f"cannot be decoded: {type(error).__name__}: {error}"
