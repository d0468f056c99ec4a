"""t-SNE of the energy vectors of a split's first images, zero-shot and fine-tuned together. No ray, no torch.

The energy vector of an image x is (E(x, t_1), ..., E(x, t_M)), one energy for each of 10,000 random texts (docs/metrics.md).
Trials keep features of the first 100 images of each split, from which `energy_coordinates` makes points with the distances of
energy vectors in as many numbers as a feature has; t-SNE looks at nothing but distances.

Nam et al., Lipsum-FT, arXiv:2404.00860, appendix B and Figure 15: the first 100 images of each split, `sklearn.manifold.TSNE`
with default parameters (perplexity 30). What is embedded together is not in the paper's text; here both models and all splits
of a method are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from orchestrator.analysis.grid import Outcome
from orchestrator.analysis.predictions import PredictionsError, read_predictions
from orchestrator.records import Results, TrialRecord
from orchestrator.spec import TrialSpec
from orchestrator.trials.features import FEATURES_FILE, Features, energy_coordinates, read_features
from orchestrator.views.extra import NotHereError
from orchestrator.views.match import NoValueError, Trials
from orchestrator.views.spec import View
from orchestrator.views.tsne_cache import CACHE, kept

PERPLEXITY, SEED = 30.0, 0
"""scikit-learn's default, which the paper takes, and the random state, which is ours."""
MOST_OTHERS, MOST_LINES = 4, 8
"""Settings beside the paper's that are drawn, and trials of each: an embedding takes seconds."""
LEAST_POINTS = 4
"""of a t-SNE in a plane"""
NO_SCIKIT_LEARN = "t-SNE needs scikit-learn, which is not installed: pip install 'scikit-learn>=1.6' (the extra `tsne`)"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Domain:
    """The first images of a domain's test split under both models."""

    name: str
    keys: tuple[str, ...]
    before: Floats
    """(n, 2) of the zero-shot model"""
    after: Floats
    """(n, 2) of the fine-tuned one"""
    energy_gap: float
    """mean over these images of the squared difference of energies, as in docs/metrics.md"""
    apart: float
    """share of the 2n energy vectors whose nearest other one is of the same model: 0 to 1"""


@dataclass(frozen=True, slots=True)
class Line:
    """A method of a panel: one trial with its zero-shot model, or why there is nothing to see."""

    title: str
    domains: tuple[Domain, ...] = ()
    trial: str = ""
    zero_shot: str = ""
    """ids of the two trials"""
    seed: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One dataset, model and reference domain."""

    title: str
    lines: tuple[Line, ...]


def sections(results: Results, trials: Trials, view: View) -> Iterator[Section]:
    """The panels of `view`, whose first row is the model before fine-tuning; then the folder's other settings, same methods."""
    for panel in view.panels:
        matches = [(row.title, trials.match(view, panel, row, panel.dataset)) for row in panel.rows[1:]]
        found = (_line(results, trials, title, match.outcomes, match.why) for title, match in matches)
        yield Section(panel.title, tuple(found))
    for number, ((dataset, model, sources), by_label) in enumerate(_others(trials, view).items()):
        title = f"{dataset}, {model}, fine-tuned on {' + '.join(sources)}"
        if number >= MOST_OTHERS:
            yield Section(title, (Line("all", why=f"not drawn: only {MOST_OTHERS} settings beside the paper's are"),))
            continue
        lines = [_line(results, trials, label, by_label[label]) for label in list(by_label)[:MOST_LINES]]
        why = f"not drawn: only the first {MOST_LINES} are"
        yield Section(title, (*lines, *(Line(label, why=why) for label in list(by_label)[MOST_LINES:])))


def embed(points: Floats, folder: Path) -> Floats:
    """t-SNE (n, 2) of points (n, D), kept in `folder` by a hash of them and of the settings: it takes seconds.

    Raises NotHereError if scikit-learn is not installed.
    """
    try:
        settings: dict[str, float | str] = {
            "perplexity": perplexity(len(points)),
            "seed": SEED,
            "scikit-learn": version("scikit-learn"),
        }
    except PackageNotFoundError:
        raise NotHereError(NO_SCIKIT_LEARN) from None
    return kept(folder, points, settings, _embedding)


def _embedding(points: Floats) -> Floats:
    """The same computed, in one thread: sums over several threads have no fixed order."""
    try:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise NotHereError(NO_SCIKIT_LEARN) from None
    with threadpool_limits(limits=1):
        found = TSNE(perplexity=perplexity(len(points)), random_state=SEED).fit_transform(points)
    return np.asarray(found, np.float64)


def perplexity(count: int) -> float:
    """That of a t-SNE of so many points: scikit-learn's default, or as much as so few points allow."""
    return min(PERPLEXITY, (count - 1) / 3)


def apart(before: Floats, after: Floats) -> float:
    """Share of the points (n, D) of two models whose nearest other point is of the same model: 0 to 1.

    0: every image stays nearest to itself; 1: the two models' points do not mix.
    """
    nearest = [cdist(one, one) + np.diag(np.full(len(one), np.inf)) for one in (before, after)]
    own = np.concatenate([distances.min(axis=1) for distances in nearest])
    across = cdist(before, after)
    return float((own < np.concatenate([across.min(axis=1), across.min(axis=0)])).mean())


Setting = tuple[str, str, tuple[str, ...]]
"""dataset, architecture, reference domains"""


def _others(trials: Trials, view: View) -> dict[Setting, dict[str, list[Outcome]]]:
    """The trials of the view's methods in the settings of the folder that are none of its panels, by what the plan calls them."""
    published = {(panel.dataset, panel.model, panel.sources) for panel in view.panels}
    methods = {row.method for panel in view.panels for row in panel.rows[1:]}
    found: dict[Setting, dict[str, list[Outcome]]] = {}
    for o in trials.outcomes.values():
        spec = o.trial.spec
        setting = (spec.data.name, spec.model.name, spec.data.sources)
        if o.trial.kind == "trained" and spec.method in methods and setting not in published:
            found.setdefault(setting, {}).setdefault(o.trial.label, []).append(o)
    return found


def _line(results: Results, trials: Trials, title: str, outcomes: Sequence[Outcome], why: str = "") -> Line:
    """The first seed that has what it takes, or the first reason why none has; `why`: why there are no outcomes."""
    reasons = [why] if why else []
    for o in outcomes:
        try:
            return _embedded(results, o, _zero_shot(trials, o), title)
        except NoValueError as reason:
            reasons.append(str(reason))
    return Line(title, why=reasons[0])


def _zero_shot(trials: Trials, tuned: Outcome) -> TrialRecord:
    """The finished trial of the same pre-trained model on the same images. Raises NoValueError with the reason if none is."""
    if tuned.status != "done" or tuned.record is None:
        raise NoValueError(tuned.reason)
    for o in trials.outcomes.values():
        spec = o.trial.spec
        if o.trial.kind == "reference" and o.record and o.status == "done" and _alike(spec, tuned.trial.spec):
            return o.record
    raise NoValueError("the zero-shot model on the same images was not run")


def _alike(one: TrialSpec, other: TrialSpec) -> bool:
    """Whether features of both trials are of the same pre-trained model and of the same images in one order."""
    data = (one.data.identity, one.data.target_split) == (other.data.identity, other.data.target_split)
    pooled = one.data.target_split != "test"
    return (
        data
        and (one.model, one.preprocessing) == (other.model, other.preprocessing)
        and (not pooled or one.data.split_seed == other.data.split_seed)
    )


def _embedded(results: Results, tuned: Outcome, zero_shot: TrialRecord, title: str) -> Line:
    id = tuned.trial.id
    after, before = _features(results, id), _features(results, zero_shot.id)
    if before.text_moment is None:
        raise NoValueError("the model's text encoder cannot read random texts, so images have no energies")
    domains = [d for d in zero_shot.spec.data.targets if ("", d) in after.images and ("", d) in before.images]
    if not domains:
        raise NoValueError(f"{id} kept no features of a domain that {zero_shot.id} kept some of")
    clouds: list[tuple[str, tuple[str, ...], Floats, Floats]] = []
    for domain in domains:
        pair = [energy_coordinates(f.images["", domain], before.text_moment) for f in (before, after)]
        keys = _keys(results, [zero_shot.id, id], domain, [len(points) for points in pair])
        clouds.append((domain, keys, pair[0], pair[1]))
    if sum(len(before) + len(after) for _, _, before, after in clouds) < LEAST_POINTS:
        raise NoValueError(f"{id} kept features of too few images to place in a plane")
    placed = embed(np.concatenate([points for _, _, *pair in clouds for points in pair]), results.root / CACHE)
    return Line(title, tuple(_domains(clouds, placed)), id, zero_shot.id, tuned.trial.spec.seed)


def _domains(clouds: Sequence[tuple[str, tuple[str, ...], Floats, Floats]], placed: Floats) -> Iterator[Domain]:
    start = 0
    for name, keys, before, after in clouds:
        middle, end = start + len(before), start + len(before) + len(after)
        gap = float(((after - before) ** 2).sum(axis=1).mean())
        yield Domain(name, keys, placed[start:middle], placed[middle:end], gap, apart(before, after))
        start = end


def _features(results: Results, id: str) -> Features:
    try:
        return read_features(results.trial(id) / FEATURES_FILE)
    except FileNotFoundError:
        raise NoValueError(f"{id} kept no features: it is of an earlier version, or not one image encoder") from None
    except ValueError as error:
        raise NoValueError(" ".join(str(error).split())) from None


def _keys(results: Results, ids: Sequence[str], domain: str, counts: Sequence[int]) -> tuple[str, ...]:
    """The images that features are of. Raises NoValueError if the two trials' are not the same."""
    try:
        both = [
            read_predictions(results.trial(id) / "predictions.parquet", "", domain).keys[:count]
            for id, count in zip(ids, counts, strict=True)
        ]
    except PredictionsError as error:
        raise NoValueError(str(error)) from None
    if both[0] != both[1] or [len(keys) for keys in both] != list(counts):
        raise NoValueError(f"{ids[1]} and {ids[0]} kept features of other images of {domain}")
    return both[0]
