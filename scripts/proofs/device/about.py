"""Write to a file what the default device is, and all that numbers from it may depend on.

    python -m scripts.proofs.device.about FILE

The command asks in a process of its own: a TPU belongs to one process, and that is each piece's.
"""

import json
import sys
from pathlib import Path

import jax

from experiments._harness.environment import environment


def about() -> dict[str, object]:
    device = jax.devices()[0]
    room = (device.memory_stats() or {}).get("bytes_limit")
    return {
        "kind": device.device_kind,
        "backend": device.platform,
        "memory": f"{room / 2**30:.1f} GiB" if room else "not told",
        **environment(),
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(about()))
