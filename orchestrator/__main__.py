"""`python -m orchestrator`, from the root of a checkout."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from orchestrator.cli import EXIT_BAD_INPUT, app

ROOT = Path(__file__).resolve().parent.parent


def wrong_datasets() -> str | None:
    """Why `import datasets` would not give this project's package, or None if it does.

    Hugging Face's distribution has the same import name, and Ray's workers import what the driver's folder gives.
    """
    found = importlib.util.find_spec("datasets")
    origin = Path(found.origin).resolve() if found and found.origin else None
    if origin == ROOT / "datasets" / "__init__.py":
        return None
    return f"`import datasets` finds {origin or 'nothing'}, not {ROOT / 'datasets'}; run this from {ROOT}: python -m orchestrator"


if __name__ == "__main__":
    if problem := wrong_datasets():
        sys.stderr.write(f"{problem}\n")
        sys.exit(EXIT_BAD_INPUT)
    app(prog_name="python -m orchestrator")
