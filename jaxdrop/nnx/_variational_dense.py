"""VariationalLinear as a Flax NNX module."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_count
from jaxdrop._functional.variational_dense import variational_dense
from jaxdrop._functional.variational_kl import PRUNE_AT
from jaxdrop.nnx._layer import BIAS_INIT, KERNEL_INIT
from jaxdrop.nnx._variational import VariationalLayer


class VariationalLinear(VariationalLayer):
    """A linear layer of Gaussian weights that learns which ones are noise: ``variational_dense``.

    ``y = x @ m + sqrt(x**2 @ exp(log_sigma2)) e + bias``; the parameters are ``kernel`` (m),
    ``log_sigma2`` and ``bias``. Add ``jaxdrop.variational.loss`` of the model's parameters
    (``nnx.to_pure_dict(nnx.state(model, nnx.Param))``) to the loss.

    Args:
      in_features, out_features: numbers of inputs and outputs.
      deterministic: True for test time; ``model.train()`` and ``model.eval()`` set it.
      threshold: of log alpha, from which a weight is pruned at test time.
      init_log_sigma2: where ``log_sigma2`` starts.
      rng_collection: name of the stream that keys are taken from.
      use_bias, dtype, param_dtype, kernel_init, bias_init: as in ``flax.nnx.Linear``.
      rngs: for the parameters, and forked for the noise.
      mesh_axes: inside ``shard_map``, mesh axes as in ``jaxdrop.variational_dense``.

    Reference:
      Molchanov, Ashukha & Vetrov, Variational Dropout Sparsifies Deep Neural Networks, 2017.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> layer, x = jaxdrop.nnx.VariationalLinear(4, 3, rngs=nnx.Rngs(0)), jnp.ones((2, 4))
    >>> y, mean = layer(x), x @ layer.kernel[...] + layer.bias[...][None]
    >>> bool((y == mean).any()), bool(jnp.allclose(y, mean, atol=0.2))  # log_sigma2 starts at -10
    (False, True)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        deterministic: bool | None = False,
        threshold: float = PRUNE_AT,
        init_log_sigma2: float = -10.0,
        rng_collection: str = "dropout",
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        kernel_init: Any = KERNEL_INIT,
        bias_init: Any = BIAS_INIT,
        rngs: nnx.Rngs,
        mesh_axes: MeshAxes = (),
    ):
        super().__init__(
            (
                check_count(in_features, "in_features", "the number of inputs"),
                check_count(out_features, "out_features", "the number of outputs"),
            ),
            deterministic=deterministic,
            threshold=threshold,
            init_log_sigma2=init_log_sigma2,
            rng_collection=rng_collection,
            use_bias=use_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            kernel_init=kernel_init,
            bias_init=bias_init,
            rngs=rngs,
            mesh_axes=mesh_axes,
        )

    def _linear(self, key: Any, x: Any, kernel: Any, log_sigma2: Any, mode: Any) -> jax.Array:
        return variational_dense(
            key,
            x,
            kernel,
            log_sigma2,
            deterministic=mode,
            threshold=self.threshold,
            mesh_axes=self.mesh_axes,
        )
