"""TrainState: flax's own, with the dropout key and the collections that are not trained."""

from collections.abc import Callable, Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from flax.training import train_state
from jaxtyping import PyTree

from jaxdrop._core.key import AnyKey, check_key, is_deleted
from jaxdrop.training._serialization import make_serializable


class TrainState(train_state.TrainState):
    """Hold what a Linen run needs to continue: parameters, optimizer, step and dropout key.

    ``key of step n = fold_in(dropout_key, n)``

    Make one with ``TrainState.create``. Everything in it is an array, so it can be sharded,
    vmapped, donated and saved: by ``fit``, by Orbax, and by ``flax.serialization.to_bytes``, which
    holds a typed key as its words and the name of its implementation.

    Attributes:
      step, apply_fn, params, tx, opt_state: as in ``flax.training.train_state.TrainState``.
      dropout_key: the run's key; it never changes.
      collections: the model's other variables by collection, such as ``batch_stats``.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, optax, jaxdrop.training as jt
    >>> model = nn.Dense(3)
    >>> params = model.init(jax.random.key(0), jnp.ones((1, 4)))["params"]
    >>> state = jt.TrainState.create(
    ...     apply_fn=model.apply, params=params, tx=optax.sgd(0.1), dropout_key=jax.random.key(1)
    ... )
    >>> int(state.step), sorted(state.bind())
    (0, ['params'])
    """

    params: PyTree  # flax says FrozenDict
    dropout_key: jax.Array
    collections: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        make_serializable(cls)

    @classmethod
    def create(  # type: ignore[override]  # a key is required here
        cls,
        *,
        apply_fn: Callable[..., Any] | None,
        params: PyTree,
        tx: optax.GradientTransformation,
        dropout_key: AnyKey,
        collections: Mapping[str, PyTree] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Start at step 0.

        The arrays are copied, because a training step donates its state: what is passed in here,
        in fields of a subclass too, stays usable afterwards.

        Args:
          apply_fn, params, tx: as in ``flax.training.train_state.TrainState``; apply_fn may be
            None, as nothing here calls it.
          dropout_key: the run's key.
          collections: the model's other variables by collection.
          **kwargs: the fields that a subclass adds.

        Raises:
          TypeError, ValueError: if dropout_key is not one random key, tx is no transformation, or
            "params" is among the collections.
        """
        key = check_key(dropout_key, "TrainState.create")
        _check_optimizer(tx)
        if isinstance(params, nnx.Module):
            raise TypeError(
                f"got an NNX model ({type(params).__name__}) as params; make its state with "
                "jaxdrop.training.NNXTrainState.from_model(model, tx, dropout_key)"
            )
        if "params" in (collections or {}):
            raise ValueError(
                "got 'params' among the collections, which are the variables beside the "
                "parameters; pass params=variables.pop('params'), collections=variables"
            )
        state = cls(
            step=jnp.zeros((), jnp.int32),  # an array from the start: one trace, not two
            apply_fn=apply_fn,  # type: ignore[arg-type]  # flax says no None, and takes it
            params=params,
            tx=tx,
            opt_state=tx.init(params),
            dropout_key=key,
            collections=dict(collections or {}),
            **kwargs,
        )
        # As a whole: an optimizer's state and an average may be the parameters themselves.
        return jax.tree.map(jnp.copy, state)

    def step_key(self) -> jax.Array:
        """Return the key of the step that comes next: ``fold_in(dropout_key, step)``."""
        return jax.random.fold_in(self.dropout_key, self.step)

    def bind(self, params: PyTree | None = None, *, key: AnyKey | None = None) -> Any:
        """Return what a loss function takes first: here the variables that ``apply`` takes.

        Args:
          params: parameters to use instead of the state's own, for differentiation.
          key: unused here; Linen takes its key in the call, as ``rngs={"dropout": key}``.
        """
        return {"params": self.params if params is None else params, **self.collections}

    def collect(self, bound: Any, changed: Mapping[str, Any]) -> Any:
        """Return the collections after a step: the old ones, updated by the changed ones."""
        arrays = sorted(name for name, value in changed.items() if hasattr(value, "dtype"))
        if arrays:
            raise TypeError(
                f"the loss function returned the collections {arrays}, which are arrays; the order "
                "is (loss, metrics, changed)"
            )
        if "params" in changed:
            raise ValueError(
                "the loss function returned 'params' among the changed collections, which the "
                "optimizer changes; name the others, as in apply(..., mutable=['batch_stats'])"
            )
        unknown = sorted(set(changed) - set(self.collections))
        if unknown:
            raise ValueError(
                f"the loss function returned the collections {unknown}, which the state does not "
                "have; pass collections=... with all of them to TrainState.create"
            )
        return {**self.collections, **changed}


make_serializable(TrainState)


def _check_optimizer(tx: Any) -> None:
    if not (hasattr(tx, "init") and hasattr(tx, "update")):
        raise TypeError(
            f"got tx of type {type(tx).__name__}, expected an optax transformation, such as "
            "optax.adam(1e-3)"
        )


def check_state(state: Any, caller: str) -> None:
    """Raise TypeError with the way to make a state, if this is not one of jaxdrop.training."""
    if isinstance(state, TrainState):
        check_not_donated(state)
        return
    linen = "jaxdrop.training.TrainState.create(apply_fn=..., params=..., tx=..., dropout_key=...)"
    model = "jaxdrop.training.NNXTrainState.from_model(model, tx, dropout_key)"
    way_out = f"make one with {linen}, or of an NNX model with {model}"
    if isinstance(state, train_state.TrainState):
        way_out = f"flax's has no dropout key; make one with {linen}"
    elif isinstance(state, nnx.Module):
        way_out = f"make one with {model}"
    kind = f"{type(state).__module__}.{type(state).__qualname__}"
    raise TypeError(f"got a state of type {kind}, and {caller} takes a train state: {way_out}")


def check_not_donated(state: Any) -> None:
    """Raise ValueError if a step took over the memory of this state, or of a part of it."""
    if any(is_deleted(leaf) for leaf in jax.tree.leaves(state)):
        raise ValueError(
            "got a state whose memory a training step took over; use the state that the step, or "
            "fit, returned"
        )
