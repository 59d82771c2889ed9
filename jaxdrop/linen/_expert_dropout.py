"""ExpertDropout as a Flax Linen module."""

from jaxdrop._functional.expert_dropout import expert_dropout
from jaxdrop.linen._layer import RatedLayer


class ExpertDropout(RatedLayer, kw_only=True):
    """Drop whole experts of a mixture, and share out their gates among the others.

    ``y[i] = gates[i] m[i] sum(gates) / sum(gates m)``

    ``jaxdrop.expert_dropout`` states law, paper and invalid uses.

    Attributes:
      rate, deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.
      per_example: True decides anew for each row of gates, False once for all of them.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.ExpertDropout(0.5, deterministic=False)
    >>> layer.apply({}, jnp.full((2, 4), 0.25), rng=jax.random.key(1)).tolist()
    [[0.0, 0.5, 0.0, 0.5], [0.0, 0.5, 0.0, 0.5]]
    """

    per_example: bool = False

    _function = staticmethod(expert_dropout)
    _draws_at_one = True
