"""What the family's Linen modules have in common: mode, key, and the fields handed on."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
from flax import linen as nn

from jaxdrop._flax.call import call


class Member(nn.Module):
    """A member of the family as a module: it resolves mode and key, then calls the function.

    Every field that a subclass adds is an option of the function, under the same name. All but the
    rate are keyword-only: ``DropBlock(0.5, 7)`` must not set the mode.
    """

    rate: Any
    _: dataclasses.KW_ONLY
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    _function: ClassVar[Callable[..., jax.Array]]

    @nn.compact
    def __call__(
        self, inputs: Any, deterministic: Any = None, rng: jax.Array | None = None
    ) -> jax.Array:
        """Call the function.

        Args:
          inputs: the function's x.
          deterministic: True for test time; give it here or to the constructor, not to both.
          rng: a key to use in place of one from ``make_rng``.

        Returns:
          What the function returns.
        """
        return self._run(inputs, deterministic, rng)

    def _run(self, inputs: Any, deterministic: Any, rng: Any, **more: Any) -> jax.Array:
        return call(
            type(self)._function,
            lambda: self.make_rng(self.rng_collection) if rng is None else rng,
            inputs,
            self.rate,
            nn.merge_param("deterministic", self.deterministic, deterministic),
            **{field.name: getattr(self, field.name) for field in _added(type(self))},
            **more,
        )


def _added(module: type) -> list[Any]:
    common = {field.name for field in dataclasses.fields(Member)}
    return [field for field in dataclasses.fields(module) if field.name not in common]
