"""Layer: how a member's layer is made in Linen and in NNX, and an x for it."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

import jaxdrop.linen
import jaxdrop.nnx

ROWS = jnp.linspace(-1.5, 2.0, 12).reshape(3, 4)
SEQUENCES = jnp.linspace(-1.5, 2.0, 24).reshape(2, 3, 4)
MAPS = jnp.sin(jnp.arange(2 * 9 * 4, dtype=jnp.float32)).reshape(2, 9, 4) + 2
TABLE = MAPS.reshape(18, 4)
TOKENS = jnp.arange(1, 19).reshape(2, 9)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer in both libraries.

    Attributes:
      name: of the class in jaxdrop.linen.
      linen: ``linen() -> module`` in training; of a layer with a rate, ``linen(rate=0.5)``.
      nnx: ``nnx(rngs) -> module`` in training; of a layer with a rate, ``nnx(rngs, rate=0.5)``.
      x: an example input.
      nnx_name: of the class in jaxdrop.nnx, where it is another one.
      label: distinguishes it from other ways to make the layer.
      options: of a layer that is made with a rate and the options of the member's function, and
        gives that function's bits; else None.
      bad_input: kinds of bad values (tests/bad_values.py) of arguments whose name stands for
        another kind elsewhere; None for those that are not checked.
      collects: examples that XLA has spread over devices are sent to all of them.
    """

    name: str
    linen: Callable[..., nn.Module]
    nnx: Callable[..., nnx.Module]
    x: jax.Array
    nnx_name: str = ""
    label: str = ""
    options: Mapping[str, Any] | None = None
    bad_input: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    collects: bool = False

    @property
    def id(self) -> str:
        return f"{self.name}, {self.label}" if self.label else self.name

    @property
    def has_rate(self) -> bool:
        return "rate" in inspect.signature(self.nnx).parameters

    @property
    def linen_class(self) -> Any:
        return getattr(jaxdrop.linen, self.name)

    @property
    def nnx_class(self) -> Any:
        return getattr(jaxdrop.nnx, self.nnx_name or self.name)


def rated(name: str, x: jax.Array, bad_input: Any = None, **options: Any) -> Layer:
    """A layer that is made with a rate and options, and does what the member's function does."""
    return Layer(
        name,
        lambda rate=0.5: getattr(jaxdrop.linen, name)(rate, deterministic=False, **options),
        lambda rngs, rate=0.5: getattr(jaxdrop.nnx, name)(rate, rngs=rngs, **options),
        x,
        options=options,
        bad_input=bad_input or {},
    )
