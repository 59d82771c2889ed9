"""NNXTrainState: an NNX model as a TrainState, its random streams keyed by (key, step)."""

import zlib
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx, struct
from flax.nnx import filterlib
from jaxtyping import PyTree

from jaxdrop._core.key import AnyKey, check_key
from jaxdrop.training._state import TrainState, check_not_donated


class NNXTrainState(TrainState):
    """Hold an NNX model, its optimizer and its dropout key as one tree of arrays.

    An NNX layer draws from a stream that counts its own calls. Here no counter survives a step:
    every stream of the model gets a new key, made of ``fold_in(dropout_key, step)``, the stream's
    name and its place in the model, and its counter starts at 0.

    Make one with ``NNXTrainState.from_model``; get a model back with ``to_model``.

    >>> import jax, jax.numpy as jnp, optax, jaxdrop.training as jt
    >>> from flax import nnx
    >>> model = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    >>> state = jt.NNXTrainState.from_model(model, optax.sgd(0.1), jax.random.key(1))
    >>> state.to_model()(jnp.ones((1, 4))).shape
    (1, 3)
    """

    graphdef: Any = struct.field(pytree_node=False, default=None)

    @classmethod
    def from_model(
        cls,
        model: nnx.Module,
        tx: optax.GradientTransformation,
        dropout_key: AnyKey,
        *,
        wrt: filterlib.Filter = nnx.Param,
    ) -> Self:
        """Start at step 0 from a model, which is copied and stays usable.

        Args:
          model: an NNX module.
          tx: an Optax transformation.
          dropout_key: the run's key.
          wrt: filter for what is trained; everything else is carried along.

        Raises:
          TypeError, ValueError: if dropout_key is not one random key, model is no NNX module, or
            tx no transformation.
        """
        key = check_key(dropout_key, "NNXTrainState.from_model")
        if not isinstance(model, nnx.Module):
            one = not isinstance(model, type)
            kind = type(model).__name__ if one else f"the class {model.__name__}"
            raise TypeError(
                f"got {kind} as model, expected an NNX module; a Linen model's state is made by "
                "jaxdrop.training.TrainState.create"
            )
        graphdef, *states = nnx.split(model, wrt, nnx.RngState, ...)
        # Plain arrays: a Variable remembers the trace it was made in and refuses others.
        params, streams, others = (nnx.as_pure(state) for state in states)
        return cls.create(
            apply_fn=nnx.merge,
            params=params,
            tx=tx,
            dropout_key=key,
            collections={"streams": streams, "others": others},
            graphdef=graphdef,
        )

    def bind(self, params: PyTree | None = None, *, key: AnyKey | None = None) -> Any:
        """Return a model: in training mode with its streams keyed by key, or in eval mode."""
        params = self.params if params is None else params
        model = nnx.merge(self.graphdef, params, *self.collections.values())
        if key is None:
            model.eval()
        else:
            model.train()
            _key_streams(model, jnp.asarray(key))
        return model

    def collect(self, bound: Any, changed: Any) -> Any:
        """Return what is not trained as the step left it, the streams as they were before."""
        if changed:
            raise ValueError(
                "an NNX model carries its own state: return (loss, metrics), nothing more"
            )
        had = dict(nnx.to_flat_state(self.collections["others"]))
        now = dict(nnx.to_flat_state(nnx.as_pure(nnx.state(bound))))
        # What a step only sows is left out: a state keeps its structure.
        others = nnx.from_flat_state({path: now[path] for path in had})
        return {**self.collections, "others": others}

    def to_model(self) -> Any:
        """Return a copy of the model in eval mode that later steps leave alone."""
        check_not_donated(self)
        return jax.tree.map(jnp.copy, self).bind()


def _key_streams(model: nnx.Module, key: jax.Array) -> None:
    names = {n.tag for _, n in nnx.iter_graph(model) if isinstance(n, nnx.RngStream)}
    keys: dict[str, Any] = {
        n: jax.random.fold_in(key, np.uint32(zlib.crc32(n.encode()))) for n in sorted(names)
    }
    # reseed gives each stream of a name its own key, in the model's order.
    nnx.reseed(model, policy="match_shape", **keys)
