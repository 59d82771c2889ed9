"""GaussianNoise as a Flax NNX module."""

from typing import Any

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._functional.gaussian_noise import gaussian_noise
from jaxdrop.nnx._layer import RatedLayer
from jaxdrop.nnx._rate import keep_rate
from jaxdrop.nnx._stream import Streams


class GaussianNoise(RatedLayer):
    """Add normal noise.

    ``y = x + stddev * z``, z standard normal

    ``jaxdrop.gaussian_noise`` states moments, paper and invalid uses.

    Args:
      stddev: standard deviation of the noise, 0 or more.
      deterministic, rng_collection, rngs, mesh_axes: as in ``jaxdrop.nnx.Dropout``.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer = jaxdrop.nnx.GaussianNoise(stddev=0.1, rngs=nnx.Rngs(0))
    >>> y = layer(jnp.ones(100_000))
    >>> f"{y.mean():.2f} {y.std():.2f}"
    '1.00 0.10'
    """

    _function = staticmethod(gaussian_noise)
    _draws_at_one = True

    def __init__(
        self,
        stddev: Any,
        *,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
        mesh_axes: MeshAxes = (),
    ):
        self.stddev = keep_rate(stddev)
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)
        self._keep_options()

    @property
    def rate(self) -> Any:
        """The stddev, under the name that other layers have for their rate."""
        return self.stddev

    @rate.setter
    def rate(self, value: Any) -> None:
        self.stddev = value
