"""update_kept: an optimizer that leaves alone what a step has left out."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdrop._core.checks import array_of
from jaxdrop._core.take import positions

_TAKES = (
    "update_kept takes for each array of params a tuple with one entry for each of its dimensions, "
    "an int array of kept units or None for all, such as (None, units); or None for whole subtrees"
)


def update_kept(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Update only the kept units: the others keep parameters and moments to the bit.

    ``update = where(kept, inner's update, -0.0)``, ``moment = where(kept, inner's moment, moment)``

    With Adam, momentum or weight decay, a gradient of zero still moves a weight and decays its
    moments. TensorFlow Addons' LazyAdam and PyTorch's SparseAdam stop that for rows of embeddings;
    this does for any optimizer and any dimension. Counts, such as Adam's for the bias correction,
    are those of all steps.

    Args:
      inner: the optimizer. What it computes of a whole array or tree, such as a norm for clipping,
        is of all units.

    Returns:
      A ``GradientTransformationExtraArgs`` with the state of ``inner``, so that checkpoints of
      either fit. ``update(grads, state, params, kept=kept)``: kept is a tree like params, or a
      prefix of it, with a tuple of units for each dimension in place of each array, as
      ``jaxdrop.unit_dropout_mlp_kept`` gives them, or None where all are kept. An absent unit's
      update is -0.0: added to a parameter, it changes no bit.

    Not for: inner optimizers whose state has arrays of other shapes than the parameters', such as
    ``optax.adafactor``, which are refused. It touches all of the optimizer's memory.

    Raises:
      TypeError: if ``inner`` is no optax transformation; in ``update``, if kept is missing, or its
        units are no integers.
      ValueError: in ``update``, if kept does not fit the parameters, or they do not fit the state.

    >>> import jax.numpy as jnp, optax, jaxdrop.training
    >>> tx = jaxdrop.training.update_kept(optax.sgd(0.5, momentum=0.9))
    >>> params = {"kernel": jnp.ones((2, 3))}
    >>> grads, kept = {"kernel": jnp.ones((2, 3))}, {"kernel": (None, jnp.array([0, 2]))}
    >>> updates, state = tx.update(grads, tx.init(params), params, kept=kept)
    >>> optax.apply_updates(params, updates)["kernel"].round(2).tolist()
    [[0.5, 1.0, 0.5], [0.5, 1.0, 0.5]]
    """
    if not isinstance(inner, optax.GradientTransformation):
        raise TypeError(
            f"got inner={inner!r:.60} of type {type(inner).__name__}, expected an optax "
            "transformation, such as optax.adam(1e-3)"
        )
    wide = optax.with_extra_args_support(inner)

    def update(grads: Any, state: Any, params: Any = None, **more: Any) -> Any:
        if "kept" not in more:
            raise TypeError(f"got no kept; {_TAKES}")
        given = more.pop("kept")
        if isinstance(given, Kept):
            given.taken, given = True, given.tree
        kept = _masks(grads, given)
        updates, after = wide.update(grads, state, params, **more)
        before: list[Any] = []
        optax.tree.map_params(wide, before.append, state)
        olds = iter(before)
        after = optax.tree.map_params(wide, lambda new, m: m.choose(new, next(olds)), after, kept)
        updates = jax.tree.map(lambda u, m: m.choose(u, jnp.full_like(u, -0.0)), updates, kept)
        return updates, after

    return optax.GradientTransformationExtraArgs(inner.init, update)


class Kept:
    """What a train step gives to its optimizer, which says whether it took it."""

    def __init__(self, tree: Any):
        self.tree, self.taken = tree, False


def apply_kept(tx: optax.GradientTransformation, tree: Any) -> optax.GradientTransformation:
    """Return the optimizer of one step, in which the units of ``tree`` are kept.

    Raises:
      ValueError: in ``update``, if no part of the optimizer is an ``update_kept``.
    """

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        kept = Kept(tree)
        result = optax.with_extra_args_support(tx).update(grads, state, params, kept=kept)
        if not kept.taken:
            raise ValueError(
                "got kept_fn, and an optimizer that updates all units: wrap it in "
                "jaxdrop.training.update_kept, or leave kept_fn out"
            )
        return result

    return optax.GradientTransformation(tx.init, update)


class _Mask:
    """Where an array is kept: a leaf of a tree; ``there`` broadcasts against it, None for all."""

    def __init__(self, shape: tuple[int, ...], there: jax.Array | None):
        self.shape, self.there = shape, there

    def choose(self, new: jax.Array, old: jax.Array) -> jax.Array:
        if jnp.shape(old) != self.shape:
            raise ValueError(
                f"got a state with an array of shape {jnp.shape(old)} for a parameter of shape "
                f"{self.shape}; update_kept takes optimizers whose moments are of its shape"
            )
        if self.there is None:
            return new
        return jnp.where(jnp.broadcast_to(self.there, self.shape), new, old)


def _masks(grads: Any, kept: Any) -> Any:
    """Return a tree like the gradients of ``_Mask``."""
    return jax.tree.map(
        lambda units, below: jax.tree.map(lambda array: _mask(units, array), below),
        kept,
        grads,
        is_leaf=_is_leaf,
    )


def _is_leaf(node: Any) -> bool:
    """Whether a node of kept stands for an array: no tuple of subtrees."""
    flat = isinstance(node, tuple) and not any(isinstance(n, dict | list | tuple) for n in node)
    return node is None or flat


def _mask(units: Any, array: Any) -> _Mask:
    shape = jnp.shape(array)
    if units is None:
        return _Mask(shape, None)
    if not isinstance(units, tuple):
        raise TypeError(f"got kept={units!r:.60} of type {type(units).__name__}; {_TAKES}")
    if len(units) != len(shape):
        raise ValueError(f"got {len(units)} entries for an array of shape {shape}; {_TAKES}")
    there: jax.Array | None = None
    for axis, given in enumerate(units):
        if given is None:
            continue
        at = array_of(given, "units", _TAKES)
        if at.ndim != 1 or not jnp.issubdtype(at.dtype, jnp.integer):
            raise TypeError(f"got units of dtype {at.dtype} and shape {at.shape}; {_TAKES}")
        others = tuple(d for d in range(len(shape)) if d != axis)
        along = jnp.expand_dims(positions(at, shape[axis]) >= 0, others)
        there = along if there is None else there & along
    return _Mask(shape, there)
