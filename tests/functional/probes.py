"""Cells that output what they were given, and what recurrent dropout is tried on."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

KEY, KEYS = jax.random.key(2016), jax.random.split(jax.random.key(1990))
OVER_TIME: dict[Any, bool] = {"params": False, "dropout": False}
INPUTS = jnp.ones((16, 5, 40))  # (batch, time, features)


class Probe(nn.RNNCellBase):
    """Outputs what it was given; its next hidden state is ones."""

    def __call__(self, carry, x):
        c, h = carry
        return (c, jnp.ones_like(h)), jnp.concatenate([x, h], axis=-1)

    @nn.nowrap
    def initialize_carry(self, rng, shape):
        return jnp.ones(shape), jnp.ones(shape)

    @property
    def num_feature_axes(self):
        return 1


class NNXProbe(nnx.RNNCellBase):
    """The same for NNX."""

    def __call__(self, carry, x):
        c, h = carry
        return (c, jnp.ones_like(h)), jnp.concatenate([x, h], axis=-1)

    def initialize_carry(self, shape, rngs=None, carry_init=None):
        return jnp.ones(shape), jnp.ones(shape)

    @property
    def num_feature_axes(self):
        return 1
