"""Reads the files of published values: CSV with a header, a line for each value. No ray, no torch."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path


class FactsError(ValueError):
    """A file of published values is wrong; the message is one line with the file, the line and what is expected."""


def rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """('file:line', cells by column) of each line that is not blank; none of its cells is missing.

    Raises FactsError if one of `columns` is lacking, a line has a cell too many or too few, or it is no CSV in UTF-8.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            head = next(reader, [])
            if lacking := [column for column in columns if column not in head]:
                raise FactsError(f"{path}:1: lacks the columns {', '.join(lacking)}")
            for cells in filter(None, reader):
                where = f"{path}:{reader.line_num}"
                if len(cells) != len(head):
                    raise FactsError(
                        f"{where}: has {len(cells)} cells, expected the {len(head)} of line 1; quote commas in texts"
                    )
                yield where, dict(zip(head, cells, strict=True))
        except csv.Error as error:
            raise FactsError(f"{path}:{reader.line_num}: is no CSV: {error}") from None
        except UnicodeDecodeError as error:
            raise FactsError(f"{path}: is not UTF-8 text: {error}") from None
