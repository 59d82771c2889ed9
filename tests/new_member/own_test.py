"""row_dropout: what the shared tests do not say of it."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxdrop


def test_row_dropout_drops_every_row_of_a_vector_or_none() -> None:
    y = np.stack([jaxdrop.row_dropout(jax.random.key(n), jnp.ones(5), 0.5) for n in range(20)])
    assert ((y == 0).all(axis=1) ^ (y == 2).all(axis=1)).all() and 0 < y.mean() < 2
