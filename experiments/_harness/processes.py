"""Several processes that train one model: how a command finds the others, and who writes."""

import dataclasses
import json
import zlib
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments._harness.result import CannotRun


@dataclasses.dataclass(frozen=True)
class Processes:
    """For several hosts; each runs the same command with the same --out, which all of them see."""

    coordinator: str | None = None
    """HOST:PORT of process 0, when there are several; needs the next two."""
    num_processes: int | None = None
    """How many processes there are."""
    process_id: int | None = None
    """Number of this one, from 0."""
    cluster: bool = False
    """Take all three from the cluster's environment (Slurm, Open MPI, Kubernetes, Cloud TPU)."""


def connect(processes: Processes) -> None:
    """Join the other processes, if there are any; must be called before any use of a device.

    Raises:
      CannotRun: if the options contradict each other, or the others are not found.
    """
    given = (processes.coordinator, processes.num_processes, processes.process_id)
    if all(option is None for option in given) and not processes.cluster:
        return
    if processes.cluster == any(option is not None for option in given):
        raise CannotRun("give either --cluster, or --coordinator, --num-processes and --process-id")
    if not processes.cluster:
        if any(option is None for option in given):
            raise CannotRun(
                "--coordinator, --num-processes and --process-id belong together; got "
                f"{processes.coordinator}, {processes.num_processes} and {processes.process_id}"
            )
        assert processes.num_processes is not None and processes.process_id is not None
        if not 0 <= processes.process_id < processes.num_processes:
            raise CannotRun(
                f"--process-id is {processes.process_id}, expected 0 to "
                f"{processes.num_processes - 1}"
            )
    try:
        jax.distributed.initialize(*given)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CannotRun(f"the processes did not find each other: {reason}") from error


def is_first() -> bool:
    """Say whether this process is the one that writes files and prints."""
    return jax.process_index() == 0


def agree(name: str, value: Any) -> None:
    """Wait for the other processes; raise CannotRun in all if their values are not the same."""
    if jax.process_count() == 1:
        return
    mine = np.uint32(zlib.crc32(json.dumps(value, sort_keys=True).encode()))
    everyone = np.asarray(multihost_utils.process_allgather(mine))
    if len(set(everyone.tolist())) > 1:
        raise CannotRun(f"the processes were started with different {name}; nothing was run")
