"""Shards written by Ray tasks are those that one process writes, and their errors are those of the work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from datasets import shard_file
from datasets.shards import write_prepared
from orchestrator.prepare.on_ray import over_ray
from orchestrator.prepare.verify import verify
from orchestrator.sweeps.cluster import session
from tests.datasets.fakes import Fake
from tests.datasets.parallel_fakes import Failing
from tests.datasets.test_bad_input import contents

pytestmark = pytest.mark.ray


@pytest.fixture
def ray_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(shard_file, "MAX_SAMPLES", 2)
    with session(dashboard=False):
        yield


def test_over_ray(tmp_path, ray_session):
    made = write_prepared(Fake(), tmp_path / "ray", None, runner=over_ray)
    write_prepared(Fake(), tmp_path / "one", None)
    assert contents(tmp_path / "ray") == contents(tmp_path / "one")
    assert verify(made, runner=over_ray) == made.attestation
    with pytest.raises(OSError, match=r"the disk is on fire: '.*test-000000\.tar'$"):
        write_prepared(Failing(), tmp_path / "failing", None, runner=over_ray)
