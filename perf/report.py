"""Seconds, memory and file sizes of `report` on a large folder of results.

    python -m perf.report                    # 10,004 trials: 4 models, 5 sources, 20 methods, 25 seeds, 500 images a domain
    python -m perf.report --methods 2001 --seeds 1 --models 1    # the same number of trials in tables of 2,004 rows
    python -m perf.report --one-table        # 10,000 rows in one table, all of them ranked

Records are made first (a minute, about 1 GB) and removed at the end, unless they are to be kept: --folder. The report is
made by fresh processes: without anything kept from before, then again with what the first kept. On a shared machine believe
the CPU seconds, of all threads together.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

STAGES = {
    "read": ("load_plans", "load_records"),
    "aggregate": ("aggregate",),
    "statistics": ("with_statistics",),
    "page": ("html_text",),
    "tables": ("markdown", "csv_text", "rows_csv_text"),
    "write": ("write_atomic",),
}
"""Stage -> the functions of `orchestrator.report` that it consists of."""


def main() -> None:
    """Make the records, report on them twice, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--sources", type=int, default=5)
    parser.add_argument("--methods", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=25)
    parser.add_argument("--images", type=int, default=500, help="of each domain; 0: no per-image outcomes")
    parser.add_argument("--one-table", action="store_true", help="1 model, 1 source, 1 seed and 9,997 methods")
    parser.add_argument("--folder", type=Path, help="keep the records here; used as they are if they are there")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one_table:
        given.models, given.sources, given.methods, given.seeds = 1, 1, 9_997, 1
    if given.measure:
        print(json.dumps(_measure(given.measure)))
        return
    with _folder(given) as root:
        for which in ("first", "again"):
            command = [sys.executable, "-m", "perf.report", "--measure", str(root)]
            started = time.perf_counter()
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            _show(which, found, time.perf_counter() - started)
        for path in sorted(root.glob("leaderboard*")):
            print(f"{path.name:22} {path.stat().st_size / 1e6:6.1f} MB")


@contextmanager
def _folder(given: argparse.Namespace) -> Iterator[Path]:
    """Records in the folder that was asked for, or in one that is removed."""
    with tempfile.TemporaryDirectory() as temporary:
        root = given.folder or Path(temporary)
        if not (root / "trials").exists():
            from perf.many_records import Sweep, write_sweep

            sweep = Sweep(given.models, given.sources, given.methods, given.seeds, given.images)
            print(f"{write_sweep(root, sweep):,} trials written")
        yield root


def _measure(root: Path) -> dict[str, Any]:
    """Seconds of each stage of `build_report`, by the clock and of CPU, and the peak memory of this process in GiB."""
    spent = {stage: [0.0, 0.0] for stage in ("import", *STAGES)}

    def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return function(*args)
            finally:
                spent[stage][0] += time.perf_counter() - wall
                spent[stage][1] += time.process_time() - cpu

        return run

    report = timed("import", import_module)("orchestrator.report")

    for stage, names in STAGES.items():
        for name in names:
            setattr(report, name, timed(stage, getattr(report, name)))
    report.build_report(root)
    return {
        "stages": spent,
        "cpu": time.process_time(),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def _show(which: str, found: dict[str, Any], total: float) -> None:
    cpu, spent = found["cpu"], found["stages"]
    spent["rest"] = [whole - sum(stage[place] for stage in spent.values()) for place, whole in enumerate((total, cpu))]
    print(f"{which}: {total:.1f} s, {cpu:.1f} CPU seconds, peak memory {found['peak_gib']:.2f} GiB")
    for stage, (seconds, of_cpu) in spent.items():
        print(
            f"  {stage:10} {seconds:6.1f} s {100 * seconds / total:3.0f} %   {of_cpu:6.1f} CPU s {100 * of_cpu / cpu:3.0f} %"
        )


if __name__ == "__main__":
    main()
