"""DropConnectDense as a Linen module."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_count, check_switch
from jaxdrop._flax.call import call, check_features
from jaxdrop._functional.drop_connect import CHUNK, drop_connect_dense
from jaxdrop.linen._layer import DropoutLayer


class DropConnectDense(DropoutLayer, nn.Module):
    """A dense layer whose connections are dropped while training: ``drop_connect_dense``.

    ``y[b] = x[b] @ where(keep[b], kernel / (1 - rate), 0) + bias``

    Its parameters are those of ``flax.linen.Dense``. The bias is never dropped.

    Attributes:
      features: number of outputs.
      rate: probability of dropping a weight.
      per_example: True for one mask per example (Wan et al.), False for one per call.
      chunk: with per_example, how many examples are computed at a time.
      deterministic: True for test time; give it here or in the call.
      rng_collection: name of the collection that the key is taken from.
      use_bias, dtype, param_dtype, kernel_init, bias_init: as in ``flax.linen.Dense``.
      mesh_axes: inside ``shard_map``, mesh axes as in ``jaxdrop.drop_connect_dense``.

    Reference:
      Wan et al., Regularization of Neural Networks using DropConnect, 2013.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, jaxdrop.linen
    >>> ones, x = nn.initializers.ones, jnp.ones((2, 4))
    >>> layer = jaxdrop.linen.DropConnectDense(3, 0.5, kernel_init=ones, deterministic=False)
    >>> key = jax.random.key(0)
    >>> layer.init_with_output(key, x, rng=key)[0].tolist()  # sums of four that are 0 or 2
    [[6.0, 6.0, 0.0], [6.0, 6.0, 0.0]]
    """

    features: int
    rate: Any
    _: dataclasses.KW_ONLY
    per_example: bool = False
    chunk: int = CHUNK
    deterministic: bool | None = None
    rng_collection: str = "dropout"
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: Any = nn.initializers.lecun_normal()
    bias_init: Any = nn.initializers.zeros_init()
    mesh_axes: MeshAxes = ()

    @nn.compact
    def __call__(
        self, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None
    ) -> jax.Array:
        """Apply the layer; ``rng`` takes the place of a key from ``make_rng``."""
        mode = self._mode(deterministic)
        inputs = check_features(inputs, self)
        outputs = check_count(self.features, "features", "the number of outputs")
        shape = (inputs.shape[-1], outputs)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if check_switch(self.use_bias, "use_bias"):
            bias = self.param("bias", self.bias_init, (outputs,), self.param_dtype)
        inputs, kernel, bias = promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        y = call(
            drop_connect_dense,
            lambda: self._key(rng),
            inputs,
            self.rate,
            mode,
            kernel=kernel,
            per_example=self.per_example,
            chunk=self.chunk,
            mesh_axes=self.mesh_axes,
        )
        return y if bias is None else y + jnp.broadcast_to(bias, y.shape)
