"""Seconds the warm pool spends on a trial that does nothing: `python -m perf.noop_trials [N] [SLOTS]`.

Prints the steady rate (from the second end to the last, over all slots), the wall time over N with the start of Ray and
of the slots, and what the machine was doing meanwhile.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from datetime import datetime
from io import StringIO
from pathlib import Path

from rich.console import Console

from orchestrator.records import Results, load_records
from orchestrator.sweeps.sweep import SweepOptions, run_sweep
from tests.orchestrator.ray_fakes import ENTRY, make_plan, make_trial


def main(trials: int = 200, slots: int = 2) -> None:
    """Run `trials` no-op trials in `slots` slots and print what they cost."""
    plan = make_plan(*(make_trial("noop", seed=seed) for seed in range(trials)))
    with tempfile.TemporaryDirectory() as folder:
        results = Results(Path(folder))
        began = time.monotonic()
        run_sweep([plan], results, SweepOptions(slots=slots), entry=ENTRY, console=Console(file=StringIO()))
        wall = time.monotonic() - began
        ends = sorted(datetime.fromisoformat(r.finished_at) for r in load_records(results).records.values())
    steady = (ends[-1] - ends[1]).total_seconds() / (trials - 2)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{trials} no-op trials, {slots} slots, {os.cpu_count()} cores ({platform.machine()}), load average {load}")
    print(f"steady {steady:.3f} s a trial; wall {wall:.1f} s, {wall / trials:.2f} s a trial with all starts")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
