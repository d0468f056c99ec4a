"""Numbers in sentences."""

from __future__ import annotations


def number_of(number: int, one: str, many: str = "") -> str:
    """'1 image', '2,000 images'; `many` where it is more than an 's': number_of(n, "bad image is", "bad images are")."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
