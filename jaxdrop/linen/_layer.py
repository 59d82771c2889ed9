"""What all Linen layers are: a mode, a key, and for most a function to call."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
from flax import linen as nn

from jaxdrop._core.annotations import MeshAxes
from jaxdrop._flax.call import call
from jaxdrop._flax.stochastic_layer import StochasticLayer


class DropoutLayer(StochasticLayer):
    """How a Linen layer finds its mode and its key.

    It has no fields, since they would come before the fields of flax's own layers.
    """

    deterministic: Any
    rng_collection: str
    make_rng: Any

    def _mode(self, deterministic: Any) -> Any:
        """The mode of a call, given to the layer or in the call."""
        return nn.merge_param("deterministic", self.deterministic, deterministic)

    def _key(self, rng: Any) -> Any:
        """The key given in the call, or else the next one of the collection."""
        return self.make_rng(self.rng_collection) if rng is None else rng


class RatedLayer(DropoutLayer, nn.Module):
    """A member of the family as a layer: it finds mode and key, then calls the function.

    Every field that a subclass adds is an option of the function, under the same name. All but the
    rate are keyword-only: ``DropBlock(0.5, 7)`` must not set the mode.
    """

    rate: Any
    _: dataclasses.KW_ONLY
    deterministic: bool | None = None
    rng_collection: str = "dropout"
    mesh_axes: MeshAxes = ()

    _function: ClassVar[Callable[..., jax.Array]]
    _draws_at_one: ClassVar[bool] = False  # see ``call``

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
            lambda: self._key(rng),
            inputs,
            self.rate,
            self._mode(deterministic),
            draws_at_one=self._draws_at_one,
            mesh_axes=self.mesh_axes,
            **{field.name: getattr(self, field.name) for field in _added(type(self))},
            **more,
        )


def _added(layer: type) -> list[Any]:
    common = {field.name for field in dataclasses.fields(RatedLayer)}
    return [field for field in dataclasses.fields(layer) if field.name not in common]
