"""What every worker process of `prepare` and `verify` needs, loaded once into the server from which they are forked.

Each would spend some 0.3 s of CPU time on it otherwise. Nothing here may start a thread, which a fork would lose.
"""

from __future__ import annotations

import io

from PIL import Image

import datasets.shard_check
import datasets.shard_work
import datasets.sources  # noqa: F401 - to have it loaded
from datasets.decoding import decode_fast

_buffer = io.BytesIO()
Image.new("RGB", (8, 8)).save(_buffer, "JPEG")
decode_fast(_buffer.getvalue())  # it compares the decoders when it is first asked
