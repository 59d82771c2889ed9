"""The quickstart's network, as ``scripts/audit`` takes it; docs/audit.md shows the result.

scripts/audit experiments.quickstart.audited:quickstart
"""

from typing import Any

import jax

from experiments._networks.feedforward import Net
from experiments.quickstart import ARMS, Config


def quickstart() -> Any:
    """Return the network, with dropout, and 32 rows in place of digits."""
    config, arm = Config(), ARMS["dropout"]
    net = Net(config.hidden, input_rate=arm.input_rate, hidden_rate=arm.hidden_rate)
    return net, (jax.random.uniform(jax.random.key(0), (32, 784)),)
