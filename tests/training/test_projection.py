"""Projection by radii: exact limits, gradients, and learning against the official code's numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.methods.post_hoc import golden
from training.projection import distances, learn_projection, learn_radii, project
from training.types import Batch


class Net(nn.Module):
    """The model on which the official code was run."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(5, 8), nn.LayerNorm(8), nn.Linear(8, 3, bias=False)

    def forward(self, images):
        return self.head(torch.relu(self.norm(self.first(images))))


def official() -> tuple[dict, dict, list[Batch], dict]:
    numbers = golden("tpgm")
    start, end = ({k: torch.tensor(v) for k, v in numbers[which].items()} for which in ("start", "tuned"))
    images, labels = torch.tensor(numbers["images"]), torch.tensor(numbers["labels"])
    size = numbers["batch_size"]
    return start, end, [Batch(*b) for b in zip(images.split(size), labels.split(size), strict=True)], numbers["runs"]


@pytest.mark.parametrize("iterations", [0, 1, 10, 60])
def test_radii_and_weights_equal_the_official_code(iterations: int) -> None:
    start, end, batches, runs = official()
    run = runs[str(iterations)]
    radii = learn_radii(Net().eval(), start, end, lambda: batches, iterations=iterations, lr=1e-2)
    assert radii.keys() == run["radii"].keys()
    for name, radius in run["radii"].items():
        torch.testing.assert_close(radii[name], torch.tensor(radius), rtol=1e-5, atol=1e-7)
    projected = project(start, end, radii)
    for name, value in run["weights"].items():
        torch.testing.assert_close(projected[name], torch.tensor(value), rtol=1e-5, atol=1e-6)


def test_the_official_run_has_radii_at_both_bounds() -> None:
    start, end, _, runs = official()
    radii, norms = runs["60"]["radii"], distances(start, end)
    assert radii["first.bias"] == pytest.approx(1e-8)
    assert radii["norm.bias"] == pytest.approx(float(norms["norm.bias"]))


def test_radius_infinity_is_the_end_and_0_the_start_bit_for_bit() -> None:
    start, end, _, _ = official()
    for radius, expected in ((torch.inf, end), (0.0, start)):
        projected = project(start, end, {name: torch.tensor(radius) for name in start})
        assert all(torch.equal(projected[name], expected[name]) for name in start)


def test_it_moves_by_the_radius() -> None:
    start, end = {"w": torch.zeros(4)}, {"w": torch.tensor([3.0, 0.0, 4.0, 0.0])}
    assert torch.allclose(project(start, end, {"w": torch.tensor(2.5)})["w"], end["w"] / 2)


def test_a_radius_at_its_bound_gets_no_gradient_in_float32() -> None:
    start, end = {"w": torch.zeros(4)}, {"w": torch.full((4,), 0.5)}
    for dtype, zero in ((torch.float32, True), (torch.float64, False)):
        ends = {"w": end["w"].to(dtype)}
        radius = torch.tensor(1.0, dtype=dtype, requires_grad=True)
        project({"w": start["w"].to(dtype)}, ends, {"w": radius})["w"].sum().backward()
        assert (float(radius.grad) == 0) == zero


def test_what_did_not_move_has_no_radius_and_integers_come_from_the_end() -> None:
    start = {"w": torch.ones(2), "same": torch.ones(3), "count": torch.tensor(1)}
    end = {"w": torch.zeros(2), "same": torch.ones(3), "count": torch.tensor(5)}
    assert list(distances(start, end)) == ["w"]
    assert project(start, end, {"w": torch.tensor(0.0)})["count"] == 5


def test_nothing_moved_means_nothing_to_learn() -> None:
    start, _, batches, _ = official()
    weights, mean = learn_projection(Net().eval(), start, start, lambda: batches, iterations=3, lr=1e-2)
    assert mean == 0
    assert all(torch.equal(weights[name], start[name]) for name in start)


def test_a_pass_without_a_batch_is_an_error_not_an_endless_loop() -> None:
    start, end, _, _ = official()
    with pytest.raises(ValueError, match="no validation image"):
        learn_radii(Net().eval(), start, end, list, iterations=1, lr=1e-2)
