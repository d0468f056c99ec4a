"""What an error on a worker means: for the trial, for the group of workers, for the process.

| who fails, when | record | verdict, lease | process | test |
|---|---|---|---|---|
| the only worker raises | failed: permanent, or resource (memory, disk) | failed, by who raised | kept | `test_pool_ray.test_exceptions_are_recorded_with_their_class` |
| the only worker leaves (SystemExit) | failed: permanent | failed | kept | `test_slot_failures.test_a_method_that_leaves_the_process_has_failed` |
| the only worker's CUDA context is lost | failed: permanent | failed | replaced | `test_pool_ray.test_an_exception_keeps_the_slot_and_a_poisoned_process_is_replaced` |
| a worker dies (SIGKILL, node) | none | none: the next incarnation gets the lease again | replaced | `test_pool_ray.test_a_lost_worker_s_trial_is_run_again` |
| it dies `max_attempts` times | failed: transient, with what was last seen of it | failed, by the next incarnation | replaced | `test_pool_ray.test_a_trial_that_always_kills_its_worker_is_given_up` |
| it dies after its record was written | that record | completed, by the next incarnation | replaced | `test_pool_ray.test_a_worker_lost_after_its_record_was_written_is_not_run_again` |
| one of several dies, others see a closed connection | none | none: as above | all replaced | `test_pool_ray.test_a_group_of_two_workers` ("lost") |
| one of several raises, others wait for it | failed, its reason | failed, by who raised | all replaced | `test_pool_ray.test_a_group_of_two_workers` ("uneven") |
| several raise | failed, reason of the first that claims the verdict | failed, by that one | all replaced | `test_slot_failures.test_of_two_workers_that_fail_the_first_writes_record_and_verdict` |
| the one that claimed dies before it has settled | none | none: as a worker that dies | all replaced | `test_pool_ledger.test_a_claim_dies_with_its_lease` |
| a worker says nothing for `silence_minutes` | none | none: its group is killed, as a worker that dies | all replaced | `test_pool_ray.test_a_silent_trial_is_ended_and_run_again` |
| a worker cannot start | none | none: the slot is out of service, others get its lease | ends | `test_pool_ray.test_a_pool_that_cannot_start_says_why` |
| the record cannot be written (disk full) | none | failed, with both reasons | kept | `test_slot_failures.test_a_record_that_cannot_be_written_leaves_a_verdict` |
| the pool closes | none | none | ends | `test_pool_ray.test_ctrl_c_closes_the_pool_and_nothing_is_recorded_for_what_ran` |
"""  # noqa: E501 - a table

from __future__ import annotations

import errno
import re

import torch
from torch.distributed import DistBackendError, DistNetworkError

from orchestrator.records import FailureClass

_CLOSED_CONNECTION = re.compile(
    r"connection (was )?(reset|closed|aborted)|broken pipe|socket closed|gloo/transport/.*error",
    re.IGNORECASE,
)
"""gloo has no class of its own for a peer that is gone, only plain RuntimeErrors; seen with torch 2.13: '[.../gloo/transport/
tcp/pair.cc:545] Read error [127.0.0.1]:28335: Connection reset by peer' and '... Connection closed by peer [...]'."""


class WorkerLost(Exception):  # noqa: N818 - the name that records and warnings know it by
    """The workers of a trial died as often as `max_attempts` allows."""


def failure_class(error: BaseException) -> FailureClass:
    """Which failure it is: 'resource' for exhausted memory or disk, 'transient' for lost workers, else 'permanent'."""
    if isinstance(error, WorkerLost):
        return "transient"
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return "resource"
    if isinstance(error, OSError) and error.errno in (errno.ENOMEM, errno.ENOSPC, errno.EDQUOT):
        return "resource"
    if isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error):  # torch has no class of its own for it
        return "resource"
    return "permanent"


def poisons_process(error: BaseException) -> bool:
    """True for CUDA errors after which every further CUDA call of the process fails. Running out of memory is none."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return False
    return isinstance(error, torch.AcceleratorError) or (isinstance(error, RuntimeError) and "CUDA error" in str(error))


def is_lost_peer(error: BaseException | None) -> bool:
    """True if another worker of the group is gone: what this one saw is an echo and says nothing about the trial.

    Only what the collectives raise counts, also as the cause of another error. A connection to where data lie is an
    OSError, one that took longer than its limit no closed one: neither is an echo.
    """
    while error is not None:
        if isinstance(error, DistBackendError | DistNetworkError):
            return True
        if type(error) is RuntimeError and _CLOSED_CONNECTION.search(str(error)):
            return True
        error = error.__cause__
    return False
