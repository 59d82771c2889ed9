"""The character model, as ``scripts/audit`` takes it; docs/audit.md shows the result.

scripts/audit experiments._networks.audits:char_lm
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from experiments._networks.char_model import CharModel
from experiments._networks.char_training import CharConfig


def char_lm() -> Any:
    """Return the character model of char_lm, its rates those after their rise, and 8 windows."""
    config = CharConfig()
    model = CharModel(
        layers=config.layers,
        width=config.width,
        heads=config.heads,
        context=config.context,
        rate=lambda step: config.rate,
        dtype=jnp.dtype(config.dtype),
        rngs=nnx.Rngs(config.seed),
    )
    model.begin_step()
    return model, (jax.random.randint(jax.random.key(0), (8, config.context), 0, 256),)
