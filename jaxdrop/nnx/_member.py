"""What the family's NNX modules have in common: mode, stream of keys, and the options handed on."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
from flax import nnx

from jaxdrop._flax.call import call
from jaxdrop.nnx._rate import held, value_of
from jaxdrop.nnx._stream import Mode, Streams, draw, mode_of

__all__ = ["Member", "Streams", "held"]


class Member(Mode, nnx.Module):
    """A member of the family as a module: it resolves mode and key, then calls the function."""

    _function: ClassVar[Callable[..., jax.Array]]

    # For the members without options; one that has some names them in a constructor of its own.
    def __init__(
        self,
        rate: Any,
        *,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
    ):
        self.rate = held(rate)
        self._keep_stream(deterministic, rng_collection, rngs)
        self._hand_on()

    def _hand_on(self, **options: Any) -> None:
        """Keep the function's options, each as an attribute that may be changed later."""
        for name, value in options.items():
            setattr(self, name, value)
        self.options = tuple(options)

    def __call__(
        self,
        inputs: Any,
        *,
        deterministic: Any = None,
        rngs: Streams | jax.Array = None,
    ) -> jax.Array:
        """Call the function.

        Args:
          inputs: the function's x.
          deterministic: True for test time; goes before what the constructor was given.
          rngs: a key, RngStream or Rngs that goes before the layer's own stream.

        Returns:
          What the function returns.
        """
        return self._run(inputs, deterministic, rngs)

    def _run(self, inputs: Any, deterministic: Any, rngs: Any, **more: Any) -> jax.Array:
        mode = mode_of(self, deterministic)
        return call(
            type(self)._function,
            lambda: draw(self, rngs),
            inputs,
            value_of(self.rate),
            mode,
            **{name: getattr(self, name) for name in self.options},
            **more,
        )
