"""DropConnectLinear as an NNX module."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_count, check_switch
from jaxdrop._flax.call import call, check_features
from jaxdrop._functional.drop_connect import CHUNK, drop_connect_dense
from jaxdrop.nnx._layer import BIAS_INIT, KERNEL_INIT, DropoutLayer
from jaxdrop.nnx._rate import keep_rate, read_rate
from jaxdrop.nnx._stream import check_rngs


class DropConnectLinear(DropoutLayer, nnx.Module):
    """A linear layer whose connections are dropped while training: ``drop_connect_dense``.

    ``y[b] = x[b] @ where(keep[b], kernel / (1 - rate), 0) + bias``

    Its parameters are those of ``flax.nnx.Linear``. The bias is never dropped.

    Args:
      in_features, out_features: numbers of inputs and outputs.
      rate: probability of dropping a weight.
      per_example: True for one mask per example (Wan et al.), False for one per call.
      chunk: with per_example, how many examples are computed at a time.
      deterministic: True for test time; ``model.train()`` and ``model.eval()`` set it.
      rng_collection: name of the stream that keys are taken from.
      use_bias, dtype, param_dtype, kernel_init, bias_init: as in ``flax.nnx.Linear``.
      rngs: for the parameters, and forked for the masks.
      mesh_axes: inside ``shard_map``, mesh axes as in ``jaxdrop.drop_connect_dense``.

    Reference:
      Wan et al., Regularization of Neural Networks using DropConnect, 2013.

    >>> import jax, jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> ones, rngs = nnx.initializers.ones, nnx.Rngs(0)
    >>> layer = jaxdrop.nnx.DropConnectLinear(4, 3, 0.5, kernel_init=ones, rngs=rngs)
    >>> layer(jnp.ones((2, 4)), rngs=jax.random.key(0)).tolist()  # sums of four that are 0 or 2
    [[6.0, 6.0, 0.0], [6.0, 6.0, 0.0]]
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rate: Any,
        *,
        per_example: bool = False,
        chunk: int = CHUNK,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        kernel_init: Any = KERNEL_INIT,
        bias_init: Any = BIAS_INIT,
        rngs: nnx.Rngs,
        mesh_axes: MeshAxes = (),
    ):
        shape = (
            check_count(in_features, "in_features", "the number of inputs"),
            check_count(out_features, "out_features", "the number of outputs"),
        )
        check_rngs(rngs)
        self.kernel = nnx.Param(kernel_init(rngs.params(), shape, param_dtype))
        self.bias = nnx.data(None)
        if check_switch(use_bias, "use_bias"):
            self.bias = nnx.Param(bias_init(rngs.params(), (out_features,), param_dtype))
        self.rate = keep_rate(rate)
        self.per_example = per_example
        self.chunk = chunk
        self.dtype = dtype
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)

    def __call__(self, inputs: Any, *, deterministic: Any = None, rngs: Any = None) -> jax.Array:
        """Apply the layer; ``rngs``, a key, stream or Rngs, takes the place of its own stream."""
        mode = self._mode(deterministic)
        inputs = check_features(inputs, self)
        bias = None if self.bias is None else self.bias[...]
        inputs, kernel, bias = promote_dtype((inputs, self.kernel[...], bias), dtype=self.dtype)
        y = call(
            drop_connect_dense,
            lambda: self._key(rngs),
            inputs,
            read_rate(self.rate),
            mode,
            kernel=kernel,
            per_example=self.per_example,
            chunk=self.chunk,
            mesh_axes=self.mesh_axes,
        )
        return y if bias is None else y + jnp.broadcast_to(bias, y.shape)
