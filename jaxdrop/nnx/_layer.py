"""What all NNX layers are: a mode, a stream of keys, and for most a function to call."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
from flax import nnx

from jaxdrop._core.annotations import AnyArray, MeshAxes
from jaxdrop._flax.call import call
from jaxdrop._flax.stochastic_layer import StochasticLayer
from jaxdrop.nnx._rate import keep_rate, read_rate
from jaxdrop.nnx._stream import Streams, fork, next_key

# Those of flax.nnx.Linear.
KERNEL_INIT = nnx.initializers.lecun_normal()
BIAS_INIT = nnx.initializers.zeros_init()


class DropoutLayer(StochasticLayer):
    """How an NNX layer keeps its mode and its stream, under the names of ``flax.nnx.Dropout``."""

    deterministic: Any
    rng_collection: str
    rngs: Any
    mesh_axes: Any = ()

    def _keep_stream(
        self,
        deterministic: Any,
        rng_collection: str,
        rngs: Streams,
        mesh_axes: MeshAxes | None = None,  # None for a layer that takes none
    ) -> None:
        self.deterministic = deterministic
        self.rng_collection = rng_collection
        self.rngs = fork(rngs, rng_collection)
        if mesh_axes is not None:
            self.mesh_axes = mesh_axes

    # Lets nnx.view(model, deterministic=...) set the mode.
    def set_view(self, deterministic: bool | None = None) -> None:
        if deterministic is not None:
            self.deterministic = deterministic

    def _mode(self, deterministic: Any) -> Any:
        """The mode of a call: the one given there, or else the layer's."""
        mode = self.deterministic if deterministic is None else deterministic
        if mode is None:
            raise ValueError(
                f"{type(self).__name__} does not know its mode: give deterministic=True or False "
                "to the constructor, to the call, or by model.train() and model.eval()"
            )
        return mode

    def _key(self, rngs: Any) -> jax.Array:
        """The key given in the call, or else the next one of the stream."""
        source = self.rngs if rngs is None else rngs
        key = next_key(source, self.rng_collection)
        if key is not None:
            return key
        raise ValueError(
            f"got rngs={source!r:.60}: {type(self).__name__} needs a key while training; give "
            "rngs=nnx.Rngs(seed) to the constructor, or rngs or a key to the call, or set "
            "deterministic=True"
        )


class RatedLayer(DropoutLayer, nnx.Module):
    """A member of the family as a layer: it finds mode and key, then calls the function."""

    _function: ClassVar[Callable[..., jax.Array]]
    _draws_at_one: ClassVar[bool] = False  # see ``call``

    # For members without options; a member that has some names them in a constructor of its own.
    def __init__(
        self,
        rate: Any,
        *,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
        mesh_axes: MeshAxes = (),
    ):
        self.rate = keep_rate(rate)
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)
        self._keep_options()

    def _keep_options(self, **options: Any) -> None:
        """Keep the function's options, each as an attribute that may be changed later."""
        for name, value in options.items():
            setattr(self, name, value)
        self.options = tuple(options)

    def __call__(
        self,
        inputs: Any,
        *,
        deterministic: Any = None,
        rngs: Streams | AnyArray = None,
    ) -> jax.Array:
        """Call the function.

        Args:
          inputs: the function's x.
          deterministic: True for test time; overrides the constructor's.
          rngs: a key, RngStream or Rngs to use in place of the layer's own stream.

        Returns:
          What the function returns.
        """
        return self._run(inputs, deterministic, rngs)

    def _run(self, inputs: Any, deterministic: Any, rngs: Any, **more: Any) -> jax.Array:
        return call(
            type(self)._function,
            lambda: self._key(rngs),
            inputs,
            read_rate(self.rate),
            self._mode(deterministic),
            draws_at_one=self._draws_at_one,
            mesh_axes=self.mesh_axes,
            **{name: getattr(self, name) for name in self.options},
            **more,
        )


class MapLayer(RatedLayer):
    """A layer that drops whole feature maps, along a batch and a channel axis."""

    def __init__(
        self,
        rate: Any,
        *,
        batch_axis: int | None = 0,
        channel_axis: int = -1,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: Streams = None,
        mesh_axes: MeshAxes = (),
    ):
        self.rate = keep_rate(rate)
        self._keep_stream(deterministic, rng_collection, rngs, mesh_axes)
        self._keep_options(batch_axis=batch_axis, channel_axis=channel_axis)
