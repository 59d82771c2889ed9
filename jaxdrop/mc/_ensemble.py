"""ensemble: several trained models as one function, whose samples are the members in turn."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx

from jaxdrop._core.bits import random_bits
from jaxdrop.mc._sampler import model_function

_EXPECTED = (
    "expected a sequence of NNX models, of bound Linen models or of functions (key, x) -> y, or a "
    "Linen model with variables"
)


def ensemble(
    models: Sequence[Callable[..., Any] | nnx.Module | nn.Module] | nn.Module,
    variables: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
    **options: Any,
) -> Callable[[Any, Any], Any]:
    """Turn several models of one structure into ``f(key, x)``, for ``mc_predict``.

    ``mc_predict(f, key, x, num_samples)[t]`` is the prediction of member ``t mod members`` with the
    key ``fold_in(key, t)``: of a deep ensemble draw as many samples as it has members, and
    ``mc_moments`` and all metrics of ``jaxdrop.mc`` take them as they take those of dropout.
    ``f(key, x)`` itself is the prediction of a member that the key chooses.

    Models are as at test time: an NNX model in ``eval()``, a Linen model as the options say. For
    an ensemble of networks that drop, pass what ``sampler`` returns of each, and draw a multiple of
    the members. Several inputs, and rngs that come with the call, are as in ``sampler``.

    Args:
      models: members whose parameters have the same structure, shapes and dtypes: NNX models; bound
        Linen models; or functions ``(key, x) -> y``, as ``sampler`` makes them, which are
        ``jax.tree_util.Partial`` of one function. Or a single Linen model, with variables.
      variables: for a single Linen model, what ``model.apply`` takes: one for each member in a list
        or tuple, or all in one tree whose arrays have a leading axis of members, as vmapped
        training leaves them.
      options: keyword arguments of the models' call, as in ``sampler``.

    Returns:
      A function for ``mc_predict`` and ``mc_moments``; num_samples has to be a multiple of the
      members. The parameters are stacked, and are arguments of what is compiled.

    Raises:
      TypeError, ValueError: if there is no member, one is no model, or they differ in structure,
        shapes or dtypes.

    Reference:
      Lakshminarayanan, Pritzel & Blundell, Simple and Scalable Predictive Uncertainty Estimation
      using Deep Ensembles, 2017.

    >>> import jax, jax.numpy as jnp
    >>> from flax import nnx
    >>> from jaxdrop import mc
    >>> models = [nnx.Linear(3, 2, rngs=nnx.Rngs(seed)) for seed in range(5)]  # trained by now
    >>> mc.mc_predict(mc.ensemble(models), jax.random.key(0), jnp.ones((4, 3)), 5).shape
    (5, 4, 2)
    """
    if isinstance(models, nn.Module) and isinstance(variables, Mapping):
        members = model_function(models, variables, options, drops=False)
        return jax.tree_util.Partial(_Ensemble(_leading_axis(members)), members)
    if isinstance(models, nn.Module) and isinstance(variables, (list, tuple)):
        several = [model_function(models, v, options, drops=False) for v in variables]
    elif isinstance(models, (list, tuple)):
        if variables is not None:
            raise TypeError(
                "got variables with a sequence of models; give them to a single Linen model"
            )
        several = [_function(model, options) for model in models]
    else:
        raise TypeError(f"got models={models!r:.60} of type {type(models).__name__}, {_EXPECTED}")
    if not several:
        raise ValueError(f"got {models!r:.60} with {variables=!r:.60}: no member; {_EXPECTED}")
    _check_alike(several)
    stacked = jax.tree.map(lambda *leaves: jnp.stack([*map(_copied, leaves)]), *several)
    return jax.tree_util.Partial(_Ensemble(len(several)), stacked)


@dataclasses.dataclass(frozen=True)
class _Ensemble:
    """What the compiled program depends on, beside the function of the members."""

    members: int

    def __call__(self, stacked: Any, key: Any, x: Any) -> Any:
        choice, key = jax.random.split(key)
        chosen = random_bits(choice, ()) % np.uint32(self.members)
        return _at(stacked, chosen)(key, x)


def member_count(apply_fn: Any) -> int:
    """Return how many members a function has: 1 if it is no ensemble."""
    is_ensemble = isinstance(getattr(apply_fn, "func", None), _Ensemble)
    return apply_fn.func.members if is_ensemble else 1


def member_of(apply_fn: Any, t: jax.Array) -> Any:
    """Return the function of sample t: of an ensemble the member whose turn it is."""
    if not isinstance(apply_fn.func, _Ensemble):
        return apply_fn
    return _at(apply_fn.args[0], t % np.asarray(apply_fn.func.members, t.dtype))


def _at(stacked: Any, index: jax.Array) -> Any:
    return jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, index, keepdims=False), stacked)


def _copied(leaf: Any) -> jax.Array:
    """Return an array; to stack a model's key itself would be a use of it."""
    array = jnp.asarray(leaf)
    is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return jax.random.clone(array) if is_key else array


def _function(model: Any, options: dict[str, Any]) -> Any:
    if isinstance(model, (nnx.Module, nn.Module)):
        return model_function(model, None, options, drops=False)
    if not callable(model):
        raise TypeError(
            f"got a member {model!r:.60} of type {type(model).__name__} in models; {_EXPECTED}"
        )
    if options:
        raise TypeError(
            f"got the options {', '.join(options)} with a function (key, x) -> y, which takes "
            "none; give them to sampler"
        )
    return model if isinstance(model, jax.tree_util.Partial) else jax.tree_util.Partial(model)


def _check_alike(several: list[Any]) -> None:
    leaves, _ = jax.tree_util.tree_flatten_with_path(several[0])
    structure: Any = jax.tree.structure(several[0])
    for i, other in enumerate(several[1:], 1):
        found, its = jax.tree.flatten(other)
        if its != structure:
            raise ValueError(
                f"got member {i} of another function or structure than member 0; expected models "
                "that differ in their parameters alone"
            )
        for (path, a), b in zip(leaves, found, strict=True):
            one, two = jax.typeof(a), jax.typeof(b)
            if (one.shape, one.dtype) != (two.shape, two.dtype):
                raise ValueError(
                    f"got {jax.tree_util.keystr(path)} as {one.str_short()} in member 0 and as "
                    f"{two.str_short()} in member {i}; expected the same shapes and dtypes"
                )


def _leading_axis(members: Any) -> int:
    sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(members)}
    if len(sizes) != 1 or sizes <= {(), (0,)}:
        raise ValueError(
            f"got variables whose arrays have leading axes of {sorted(sizes)}; expected one of the "
            "members in each array, or a list with the variables of each member"
        )
    return int(sizes.pop()[0])
