"""LoRA with dropout as a Flax Linen module."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._core.checks import check_count
from jaxdrop._flax.call import call, check_features
from jaxdrop._functional.lora_dropout import lora_dropout
from jaxdrop.linen._layer import DropoutLayer


class LoRA(DropoutLayer, nn.Module):
    """A low-rank adapter whose input is dropped, and not that of the module that it adapts.

    ``y = base_module(x) + scale * dropout(x) @ lora_a @ lora_b``

    ``jaxdrop.lora_dropout`` states moments, paper and invalid uses. Its parameters are called and
    initialised as those of ``flax.nnx.LoRA``.

    Attributes:
      features: number of outputs.
      lora_rank: the adapter's rank.
      rate: probability of dropping an element of x.
      base_module: the module that is adapted; None returns what the adapter adds alone.
      scale: what the adapter's product is multiplied by, such as ``alpha / lora_rank``.
      deterministic: True for test time; give it here or in the call.
      rng_collection: name of the collection that the key is taken from.
      dtype, param_dtype: as in ``flax.linen.Dense``.
      a_initializer, b_initializer: as in ``flax.nnx.LoRA``.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``jaxdrop.linen.Dropout``.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, jaxdrop.linen
    >>> x = jnp.ones((2, 4))
    >>> layer = jaxdrop.linen.LoRA(3, 2, 0.1, base_module=nn.Dense(3), deterministic=False)
    >>> variables = layer.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, x)
    >>> jax.tree.map(jnp.shape, variables["params"])["lora_a"]
    (4, 2)
    """

    features: int
    lora_rank: int
    rate: Any
    _: dataclasses.KW_ONLY
    base_module: nn.Module | None = None
    scale: Any = 1.0
    deterministic: bool | None = None
    rng_collection: str = "dropout"
    dtype: Any = None
    param_dtype: Any = jnp.float32
    a_initializer: Any = nn.initializers.he_uniform()
    b_initializer: Any = nn.initializers.zeros_init()
    mesh_axes: MeshAxes = ()

    @nn.compact
    def __call__(
        self, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None, **kwargs: Any
    ) -> jax.Array:
        """Apply the adapter, and add what the base module gives; ``kwargs`` are passed to it."""
        mode = self._mode(deterministic)
        given = check_features(inputs, self)
        outputs = check_count(self.features, "features", "the number of outputs")
        rank = check_count(self.lora_rank, "lora_rank", "the adapter's rank")
        shapes = (given.shape[-1], rank), (rank, outputs)
        a = self.param("lora_a", self.a_initializer, shapes[0], self.param_dtype)
        b = self.param("lora_b", self.b_initializer, shapes[1], self.param_dtype)
        x, a, b = promote_dtype(given, a, b, dtype=self.dtype)
        y = call(
            lora_dropout,
            lambda: self._key(rng),
            x,
            self.rate,
            mode,
            lora_a=a,
            lora_b=b,
            scale=self.scale,
            mesh_axes=self.mesh_axes,
        )
        return y if self.base_module is None else y + self.base_module(given, **kwargs)
