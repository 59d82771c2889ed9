"""What the family's NNX modules have in common: mode, stream of keys, and the options handed on."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
from flax import nnx

from jaxdrop._layer_call import call

Streams = nnx.Rngs | nnx.RngStream | None


class Member(nnx.Module):
    """A member of the family as a module: it resolves mode and key, then calls the function."""

    _function: ClassVar[Callable[..., jax.Array]]

    def __init__(
        self,
        rate: Any,
        *,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
        **options: Any,
    ):
        self.rate = rate
        self.deterministic = deterministic
        self.rng_collection = rng_collection
        if isinstance(rngs, nnx.Rngs):
            self.rngs = rngs[rng_collection].fork()
        elif isinstance(rngs, nnx.RngStream):
            self.rngs = rngs.fork()
        elif rngs is None:
            self.rngs = nnx.data(None)
        else:
            raise TypeError(
                f"got rngs of type {type(rngs).__name__}, expected nnx.Rngs, nnx.RngStream or None"
            )
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
        return self._run(type(self)._function, inputs, deterministic, rngs)

    def set_view(self, deterministic: bool | None = None) -> None:
        """Set the mode, for ``nnx.view``."""
        if deterministic is not None:
            self.deterministic = deterministic

    def _run(
        self, function: Callable[..., jax.Array], inputs: Any, deterministic: Any, rngs: Any
    ) -> jax.Array:
        mode = self.deterministic if deterministic is None else deterministic
        if mode is None:
            raise ValueError(
                f"{type(self).__name__} does not know its mode: give deterministic=True or False "
                "to the constructor, to the call, or by model.train() and model.eval()"
            )
        return call(
            function,
            lambda: self._key(self.rngs if rngs is None else rngs),
            inputs,
            self.rate[...] if isinstance(self.rate, nnx.Variable) else self.rate,
            mode,
            **{name: getattr(self, name) for name in self.options},
        )

    def _key(self, source: Any) -> jax.Array:
        if isinstance(source, nnx.Rngs):
            return source[self.rng_collection]()
        if isinstance(source, nnx.RngStream):
            return source()
        if isinstance(source, jax.Array):
            return source
        raise ValueError(
            f"got rngs={source!r:.60}: {type(self).__name__} needs random keys when it is not "
            "deterministic; give rngs=nnx.Rngs(seed) to the constructor, or rngs or a key to the "
            "call"
        )
