"""How machines are cut into slots, without Ray."""

import pytest

from orchestrator.sweeps.cluster import GIB, MisfitError, Request, Shape, fit

LAPTOP = {"CPU": 2.0, "memory": 5 * GIB}
SERVER = {"CPU": 64.0, "memory": 400 * GIB, "GPU": 8.0}


@pytest.mark.parametrize(
    ("request_", "machines", "trials", "shape"),
    [
        (Request(), [LAPTOP], 14, Shape(2, 1, 1, 0.0)),
        (Request(), [LAPTOP], 1, Shape(1, 1, 2, 0.0)),
        (Request(slots=1), [LAPTOP], 14, Shape(1, 1, 2, 0.0)),
        (Request(cpus_per_trial=2), [LAPTOP], 14, Shape(1, 1, 2, 0.0)),
        (Request(), [{"CPU": 16.0, "memory": 8 * GIB}], 100, Shape(5, 1, 3, 0.0)),
        (Request(), [SERVER], 100, Shape(8, 1, 8, 1.0)),
        (Request(), [SERVER], 3, Shape(3, 1, 21, 1.0)),
        (Request(gpus_per_trial=0.25), [SERVER], 100, Shape(32, 1, 2, 0.25)),
        (Request(gpus_per_trial=0.4), [{"CPU": 32.0, "GPU": 2.0}], 100, Shape(4, 1, 8, 0.4)),
        (Request(workers_per_trial=4), [SERVER, SERVER], 100, Shape(4, 4, 8, 1.0)),
        (Request(workers_per_trial=2, gpus_per_trial=2), [SERVER], 100, Shape(4, 2, 8, 1.0)),
        (Request(gpus_per_trial=0, cpus_per_trial=4), [SERVER], 100, Shape(16, 1, 4, 0.0)),
    ],
)
def test_slots(request_: Request, machines: list[dict[str, float]], trials: int, shape: Shape):
    assert fit(request_, machines, trials) == shape


@pytest.mark.parametrize(
    ("request_", "machines", "message"),
    [
        (Request(gpus_per_trial=1), [LAPTOP], "asks for 1 GPU and 1 CPU, but Ray has 2 CPUs and 0 GPUs on 1 node"),
        (Request(slots=3), [LAPTOP], "3 slots of 1 CPU do not fit: Ray has 2 CPUs and 0 GPUs on 1 node, enough for 2"),
        (Request(slots=9), [SERVER], "9 slots of 1 GPU and 1 CPU do not fit"),
        (Request(workers_per_trial=2, gpus_per_trial=0.5), [SERVER], "several workers cannot share a GPU"),
        (Request(gpus_per_trial=2), [SERVER], "ask for 2 workers a trial as well"),
        (Request(gpus_per_trial=1.5), [SERVER], "a share of one GPU or a whole number of GPUs, got 1.5"),
        (Request(slots=0), [LAPTOP], "slots must be at least 1, got 0"),
        (
            Request(workers_per_trial=2, cpus_per_trial=3),
            [SERVER],
            "2 workers a trial need a whole number of CPUs each, got 3 CPUs a trial: ask for 4 CPUs a trial",
        ),
        (Request(workers_per_trial=4, cpus_per_trial=1), [SERVER], "got 1 CPU a trial: ask for 4 CPUs a trial"),
    ],
)
def test_what_does_not_fit_is_said(request_: Request, machines: list[dict[str, float]], message: str):
    with pytest.raises(MisfitError, match=message.replace("(", r"\(")):
        fit(request_, machines, 10)


def test_a_shape_reads_well():
    assert str(Shape(2, 1, 1, 0.0)) == "2 slots x 1 thread"
    assert str(Shape(1, 4, 8, 1.0)) == "1 slot x 4 workers of 1 GPU, 8 threads"
