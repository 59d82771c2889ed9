"""LoRA with dropout as a Flax NNX module."""

from typing import Any

import jax
from flax import nnx

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._flax.call import call
from jaxdrop._functional.lora_dropout import lora_dropout
from jaxdrop.nnx._layer import DropoutLayer
from jaxdrop.nnx._rate import keep_rate, read_rate
from jaxdrop.nnx._stream import check_rngs


# Flax's class first, so that surgery can make one of flax's: Python compares the first bases.
class LoRA(nnx.LoRA, DropoutLayer):
    """``flax.nnx.LoRA`` whose input is dropped, and not that of the module that it adapts.

    ``y = base_module(x) + scale * dropout(x) @ lora_a @ lora_b``

    ``jaxdrop.lora_dropout`` states moments, paper and invalid uses. ``surgery.lora_dropout`` makes
    it of the adapters of a model that exists.

    Args:
      in_features, lora_rank, out_features, base_module: as in ``flax.nnx.LoRA``.
      rate: probability of dropping an element of x.
      scale: what the adapter's product is multiplied by, such as ``alpha / lora_rank``; 1 is
        flax's.
      deterministic: True for test time; ``model.train()`` and ``model.eval()`` set it.
      rng_collection: name of the stream that keys are taken from.
      rngs: an Rngs, for the parameters, and to fork.
      mesh_axes: inside ``shard_map``, the mesh axes that split x, as in ``jaxdrop.nnx.Dropout``.
      options: further ones of ``flax.nnx.LoRA``, such as dtype.

    >>> import jax.numpy as jnp, jaxdrop.nnx
    >>> from flax import nnx
    >>> rngs, x = nnx.Rngs(0), jnp.ones((2, 4))
    >>> linear = nnx.Linear(4, 3, rngs=rngs)
    >>> layer = jaxdrop.nnx.LoRA(4, 2, 3, 0.1, base_module=linear, rngs=rngs)
    >>> bool((layer(x) == linear(x)).all())  # lora_b starts from zeros
    True
    """

    def __init__(
        self,
        in_features: int,
        lora_rank: int,
        out_features: int,
        rate: Any,
        *,
        scale: Any = 1.0,
        base_module: nnx.Module | None = None,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs,
        mesh_axes: MeshAxes = (),
        **options: Any,
    ):
        check_rngs(rngs)
        super().__init__(
            in_features, lora_rank, out_features, base_module=base_module, rngs=rngs, **options
        )
        self.rate = keep_rate(rate)
        self.scale = scale
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)

    def __call__(
        self, x: Any, *, deterministic: Any = None, rngs: Any = None, **kwargs: Any
    ) -> jax.Array:
        """Apply the adapter, and add what the base module gives.

        Args:
          x: the function's x.
          deterministic: the adapter's mode; overrides the constructor's.
          rngs: a key, RngStream or Rngs to use in place of the layer's own stream.
          kwargs: passed to the base module.
        """
        given = x
        x, a, b = self.promote_dtype((x, self.lora_a[...], self.lora_b[...]), dtype=self.dtype)
        y = call(
            lora_dropout,
            lambda: self._key(rngs),
            x,
            read_rate(self.rate),
            self._mode(deterministic),
            lora_a=a,
            lora_b=b,
            scale=self.scale,
            mesh_axes=self.mesh_axes,
        )
        return y if self.base_module is None else y + self.base_module(given, **kwargs)
