"""Transfer: datasets that a model is evaluated on without having been trained on them. No ray, no torch.

Here is what plans, records and reports need; `orchestrator.trials.transfer_evaluation` evaluates. A dataset of transfer
is evaluated on the test split of each of its domains that has one. In records the result stands under the dataset's name, or
under `<dataset>:<domain>` if it is evaluated on several. It never enters the mean over the shifted domains.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from datasets.base import Dataset
from datasets.shards import Prepared
from orchestrator.spec import UNPREPARED, TransferRef


@dataclass(frozen=True)
class Transfer:
    """A dataset under `transfer:`, looked up."""

    ref: str
    """as `datasets.load` takes it: a name, `name@revision`, or the absolute path of a card"""
    name: str
    """its folder below `data:`, which stands for it in records"""
    dataset: Dataset

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains to evaluate: its default ones, without those of which it says that they have no test images."""
        info = self.dataset.info
        return tuple(d for d in info.default_domains if d not in info.counts or info.counts[d].get("test", 0) > 0)


def misplaced(transfer: Transfer, trained_on: Dataset | None, others: Sequence[Transfer]) -> str | None:
    """Why a dataset cannot stand under `transfer:`, after `others` and beside the benchmark's own; None if it can."""
    if trained_on is not None and transfer.dataset.info.name == trained_on.info.name:
        return f"{transfer.name!r} is the benchmark's own dataset; its other domains belong under targets:"
    if trained_on is not None and transfer.name in trained_on.info.domains:
        return f"{transfer.name!r} is also the name of a domain of {trained_on.info.name!r}: results could not be told apart"
    if transfer.name in (other.name for other in others):
        return f"{transfer.name!r} is listed twice"
    if not transfer.domains:
        return f"{transfer.name!r} has no test images to be evaluated on"
    return None


def transfer_ref(transfer: Transfer, prepared: Prepared | None) -> TransferRef:
    """What goes into a trial's spec; `prepared` is None where the data is not on this machine."""
    return TransferRef(
        name=transfer.name, identity=prepared.identity if prepared else UNPREPARED, domains=transfer.domains
    )


def lacking_images(transfer: Transfer, prepared: Prepared) -> str | None:
    """What the prepared dataset lacks to be evaluated on; None if it has all."""
    missing = [d for d in transfer.domains if not sum(prepared.counts.get(d, {}).get("test", []))]
    if not missing:
        return None
    return (
        f"{prepared.root}: has no test images of {', '.join(missing)}, which transfer to dataset {transfer.name!r} needs; "
        "remove the folder and prepare the dataset again"
    )


def place(ref: TransferRef, domain: str) -> str:
    """The name of one domain's result."""
    return ref.name if len(ref.domains) == 1 else f"{ref.name}:{domain}"


def places(refs: Iterable[TransferRef]) -> tuple[str, ...]:
    """The names of all results, in order."""
    return tuple(place(ref, domain) for ref in refs for domain in ref.domains)


def images_by_place(transfer: Transfer, prepared: Prepared | None) -> dict[str, dict[str, int]]:
    """Name of a result -> {'test': images}: of the prepared dataset, or as its authors state them."""
    ref, counts = transfer_ref(transfer, prepared), {}
    for domain in ref.domains:
        stated = transfer.dataset.info.counts.get(domain, {}).get("test", 0)
        counts[place(ref, domain)] = {"test": sum(prepared.counts[domain]["test"]) if prepared else stated}
    return counts
