"""Promises of a method that is trained."""

from __future__ import annotations

import torch

from methods.base import Method
from orchestrator.conformance.bench import RECIPE, Killed, kill_at
from orchestrator.conformance.candidate import Candidate, differing, require, some
from training.evaluate import autocast
from training.model import ImageClassifier, ModelError, load_state
from training.optim import check_phases, freeze_all_but

STATE = "name what changes during training in `resumable`, and seed generators from task.seed"


def no_phase(candidate: Candidate) -> None:
    """`trains = False` says that there is nothing to do."""
    require(not candidate.fresh[1], "`setup` returns phases", "leave `trains` True")


def loss(candidate: Candidate) -> None:
    """A loss that a step can be taken with, and terms that can be logged."""
    fit, phases, _ = candidate.fresh
    check_phases(phases, fit.model)
    if not phases:  # it takes no step, so there is no loss to ask for
        fitted = getattr(fit.method, "fitted_in_setup", ())
        require(bool(fitted), "`setup` returns no phase", "name what it solves for in `fitted_in_setup`, or train")
        require(
            not getattr(fit.method, "takes_steps", True),
            "`setup` returns no phase",
            "say so with `takes_steps: ClassVar[bool] = False`, for the plan's numbers",
        )
        return
    require(getattr(fit.method, "takes_steps", True), "`takes_steps` is False", "`setup` returns phases: leave it True")
    freeze_all_but(fit.model, phases[0].trained)
    batch = candidate.ground.bench.normalise(next(fit.stream.batches(0, 1)))
    with autocast(torch.device("cpu")):
        losses = dict(fit.method.loss(fit.model.train(), batch))
    require("loss" in losses, f"`loss` gives {some(list(losses))}", "the term to minimise is called 'loss'")
    require(len(losses) >= 2, "`loss` gives 'loss' alone", "add every term of it under its own name, detached")
    for name, value in losses.items():
        require(value.ndim == 0, f"'{name}' has shape {tuple(value.shape)}", "give scalars: means over the batch")
        require(bool(torch.isfinite(value)), f"'{name}' is {value.item()}", "make it finite on the first batch")
        if name != "loss":
            require(not value.requires_grad, f"'{name}' carries a gradient", "detach what is only logged")
    require(losses["loss"].requires_grad, "'loss' carries no gradient", "compute it from the trained parameters")
    torch.autograd.backward(losses["loss"])
    wanted = set(phases[0].trained)
    untouched = [n for n, p in fit.model.named_parameters() if n in wanted and p.grad is None]
    require(
        not untouched,
        f"the loss does not reach {some(untouched)}",
        "leave it out of the phase: two workers would wait for it",
    )


def moves(candidate: Candidate) -> None:
    """Phases name what moves, and theta_0 and the text tower are shared with all other trials."""
    fit, _ = candidate.whole
    bench = candidate.ground.bench
    start = {**candidate.fresh[2], **candidate.ground.start}  # `setup` may attach parameters to the model
    end = fit.model.state_dict()
    trained = {name for phase in fit.phases for name in phase.trained} | {*getattr(fit.method, "fitted_in_setup", ())}
    require(
        end.keys() == start.keys(), f"{some(differing(end, start))} come and go", "attach parameters in `setup` alone"
    )
    moved = set(differing(start, end))
    stray, still = sorted(moved - trained), sorted(trained - moved)
    require(not stray, f"{some(stray)} moved but is in no phase", "name it in a phase, or leave it alone")
    require(not still, f"{some(still)} is in a phase but did not move", "leave it out, or let the loss depend on it")
    text = differing(candidate.ground.text, bench.clip.text.state_dict())
    require(not text, "task.text has changed", "all trials share it: train a copy (training/contrastive.py)")
    before = differing(candidate.ground.start, bench.model().state_dict())
    require(not before, f"the pre-trained {some(before)} has changed", "work on copies of it")


def export(candidate: Candidate) -> None:
    """Records, post-hoc methods and the next process know nothing but a plain classifier's weights."""
    fit, result = candidate.whole
    exported = fit.method.export(fit.model)
    require(isinstance(exported, ImageClassifier), f"it is a {type(exported).__name__}", "return an ImageClassifier")
    try:
        model = load_state(candidate.ground.bench.model(), result.weights)
    except ModelError as error:
        require(False, str(error), "return the plain ImageClassifier, without what `setup` attached to it")
        raise
    with torch.no_grad():
        (batch,) = candidate.ground.bench.val_batches(64)
        finite = bool(torch.isfinite(model(batch.images)).all())
    require(finite, "logits are not finite", "check what `export` rebuilds")


def resume(candidate: Candidate) -> None:
    """Machines go away: a trial goes on from its last checkpoint, and nobody can tell."""
    uncut, whole = candidate.whole
    if whole.images_seen:  # without steps there is nothing to cut
        try:
            kill_at(candidate.fit("cut", selection="reference_val"), RECIPE.eval_every + 3).run()
        except Killed:
            pass
        else:
            require(False, "`after_step` was not called", "let the loop call it: do not replace it on the instance")
    fit = candidate.fit("cut", selection="reference_val")
    resumed = fit.run()
    wrong = differing(uncut.model.state_dict(), fit.model.state_dict()) or differing(whole.weights, resumed.weights)
    wrong = wrong or differing(whole.text, resumed.text)
    require(not wrong, f"{some(wrong)} differs after an interruption", STATE)
    counts = [(fitted.texts_seen, fitted.images_encoded) for fitted in (whole, resumed)]
    require(counts[0] == counts[1], "texts or images are counted anew after an interruption", "report it: a bug")
    require(whole.trace == resumed.trace, "scores differ after an interruption", STATE)


def again(candidate: Candidate) -> None:
    """A warm worker runs trial after trial in one process."""
    first, whole = candidate.whole
    short = RECIPE.model_copy(update={"num_steps": 4})
    candidate.ground.bench.fit(Method(Method.Config()), candidate.folder / "other", short, seed=5).run()
    candidate.fit("before", recipe=short, seed=5).run()
    fit = candidate.fit("again", selection="reference_val")
    result = fit.run()
    wrong = differing(first.model.state_dict(), fit.model.state_dict()) or differing(whole.weights, result.weights)
    todo = "keep no state in the module or the class, and draw from generators seeded with task.seed"
    require(not wrong, f"{some(wrong)} differs in a second run in the same process", todo)
