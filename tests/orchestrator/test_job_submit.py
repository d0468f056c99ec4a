"""`ray job submit` on a cluster of one node, from the upload to the records."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from datasets.shards import Prepared
from orchestrator.records import Results, load_records
from tests.orchestrator.processes import MARK, marked, none_left, wait_for
from tests.orchestrator.small_benchmark import write_manifest

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc"),
]

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PATIENCE_S = 240


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """A head on loopback with two CPUs; yields the environment of a shell that submits to it."""
    gcs, dashboard, client, agent = free_ports(4)
    mark = secrets.token_hex(8)
    environment = os.environ | {
        MARK: mark,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_worker_niceness": "0",
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}",
    }
    environment.pop("RAY_ADDRESS", None)
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # a socket's path may have 107 bytes
    command = f"""start --head --node-ip-address=127.0.0.1 --port={gcs} --dashboard-host=127.0.0.1
        --dashboard-port={dashboard} --ray-client-server-port={client} --dashboard-agent-listen-port={agent}
        --num-cpus=2 --object-store-memory=100000000 --disable-usage-stats --temp-dir={folder}"""
    with none_left(mark):
        subprocess.run([BIN / "ray", *command.split()], env=environment, check=True, capture_output=True, timeout=120)
        yield environment
    wait_for(lambda: not marked(mark), "the end of the cluster's processes", 30)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def manifest(tmp_path: Path, blobs: Prepared, tiny_config: Path) -> Path:
    """A benchmark of four trials outside the upload: named, like its results, by an absolute path."""
    return write_manifest(tmp_path, blobs, tiny_config, seeds=[0], steps=6)


def submit(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    submission = [BIN / "ray", "job", "submit", "--working-dir", ".", "--", *command]
    return subprocess.run(submission, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)


def test_a_submitted_benchmark_runs_on_the_cluster(cluster: dict[str, str], manifest: Path):
    job = submit(cluster, "python", "-m", "orchestrator", "run", str(manifest))
    assert job.returncode == 0, job.stdout + job.stderr
    assert "4 trials to run, 0 recorded before; 2 slots x 1 thread" in job.stdout
    records = load_records(Results(manifest.parent / "results")).records.values()
    assert sorted((record.spec.method, record.status) for record in records) == [
        ("ft", "completed"),
        ("head_only", "completed"),
        ("wise_ft", "completed"),
        ("zero_shot", "completed"),
    ]
    assert "head_only" in (manifest.parent / "results" / "leaderboard.html").read_text()


def test_bad_input_fails_the_job(cluster: dict[str, str], tmp_path: Path):
    job = submit(cluster, "python", "-m", "orchestrator", "run", str(tmp_path / "none.yaml"))
    assert job.returncode != 0
    assert "none.yaml" in job.stdout
