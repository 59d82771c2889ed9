"""GaussianNoise as a Flax Linen module."""

import dataclasses
from typing import Any

import jax
from flax import linen as nn

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._flax.call import call
from jaxdrop._functional.gaussian_noise import gaussian_noise
from jaxdrop.linen._layer import DropoutLayer


class GaussianNoise(DropoutLayer, nn.Module):
    """Add normal noise.

    ``y = x + stddev * z``, z standard normal

    ``jaxdrop.gaussian_noise`` states moments, paper and invalid uses.

    Attributes:
      stddev: standard deviation of the noise, 0 or more.
      deterministic, rng_collection, mesh_axes: as in ``jaxdrop.linen.Dropout``.

    >>> import jax, jax.numpy as jnp, jaxdrop.linen
    >>> layer = jaxdrop.linen.GaussianNoise(stddev=0.1, deterministic=False)
    >>> y = layer.apply({}, jnp.ones(100_000), rngs={"dropout": jax.random.key(0)})
    >>> f"{y.mean():.2f} {y.std():.2f}"
    '1.00 0.10'
    """

    stddev: Any
    _: dataclasses.KW_ONLY
    deterministic: bool | None = None
    rng_collection: str = "dropout"
    mesh_axes: MeshAxes = ()

    @property
    def rate(self) -> Any:
        """The stddev, under the name that other layers have for their rate."""
        return self.stddev

    @nn.compact
    def __call__(
        self, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None
    ) -> jax.Array:
        """Add noise to the inputs; ``rng`` takes the place of a key from ``make_rng``."""
        return call(
            gaussian_noise,
            lambda: self._key(rng),
            inputs,
            self.stddev,
            self._mode(deterministic),
            draws_at_one=True,
            mesh_axes=self.mesh_axes,
        )
