"""Say what jax runs on here: backend, devices, memory, versions, whether bits repeat.

    scripts/run devices

Where a GPU is here and jax does not use it, the last line says what to type.
"""

import sys

import jax
import tyro
from rich.console import Console
from rich.table import Table

from experiments._harness.accelerator import repeats, unused_gpu
from experiments._harness.environment import environment


def memory(device: jax.Device) -> str:
    """The memory that jax may use on a device, where the device tells it."""
    limit = (device.memory_stats() or {}).get("bytes_limit")
    return f"{limit / 2**30:.1f} GiB" if limit else "not told"


def main(argv: list[str]) -> int:
    def command() -> int:
        table = Table(show_header=False)
        table.add_row("backend", jax.default_backend())
        for device in jax.devices():
            table.add_row(f"device {device.id}", f"{device.device_kind}, memory {memory(device)}")
        for name, value in environment().items():
            if name != "device":
                table.add_row(name, str(value))
        table.add_row("the same bits again", repeats())
        Console().print(table)
        if line := unused_gpu():
            print(line, file=sys.stderr)
        return 0

    return tyro.cli(command, args=argv, prog="scripts/run devices", description=__doc__)
