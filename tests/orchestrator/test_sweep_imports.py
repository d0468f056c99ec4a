"""What the processes of a sweep load, each in a fresh interpreter."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def loads(statement: str, package: str) -> bool:
    code = f"import sys; {statement}; sys.exit(10 if {package!r} in sys.modules else 0)"
    status = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode
    assert status in (0, 10), "the import itself failed"
    return status == 10


def test_relays_and_the_broker_load_no_torch():
    assert not loads("import orchestrator.sweeps.relay, orchestrator.sweeps.broker", "torch")


def test_a_sweep_with_nothing_to_run_loads_no_ray():
    assert not loads("import orchestrator.sweeps.sweep as s; s.run_sweep([], None, s.SweepOptions())", "ray")
