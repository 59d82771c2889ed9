"""sampler: a trained Flax model as a pure function (key, x) -> y whose dropouts stay on."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import linen as nn
from flax import nnx

from jaxdrop.mc._call_arguments import argument_names, call_arguments, takes_any_name
from jaxdrop.surgery._find_dropouts import find_dropouts
from jaxdrop.surgery._force_dropout import force_dropout, force_nnx


def sampler(
    model: nnx.Module | nn.Module, variables: Mapping[str, Any] | None = None, **options: Any
) -> Callable[[Any, Any], Any]:
    """Turn a model into ``f(key, x)`` that drops, while all else is as at test time.

    ``f(key, x)`` is a draw from the approximate posterior predictive of Gal & Ghahramani. Flax's
    and jaxdrop's dropouts are on, attention's too, whatever mode constructor and call set; batch
    norm uses its running averages and does not update them. The model itself is not changed.

    For several inputs, x is a tuple, if the model's call needs more than one argument, or a dict
    with the names of its arguments. An NNX model whose call takes ``rngs`` gets them, made of the
    key; so does one whose call takes ``**kwargs``, if a dropout has no stream of its own.

    ``mc_predict`` and ``mc_moments`` compile again for other active interceptors of Linen, such as
    ``surgery.replaced``. Your own ``jax.jit(f)`` does not: what was active when it was traced stays
    in it.

    Args:
      model: an NNX model; a Linen model that is bound; or a Linen model, with its variables.
      variables: what ``model.apply`` takes, for a Linen model.
      options: keyword arguments of the model's call, those of test time, such as ``train=False``.
        They are part of the program, so they must be hashable. If ``rngs`` is among them, whatever
        its value, an NNX model is called with rngs made of the key.

    Returns:
      A function for ``mc_predict`` and ``mc_moments``. The parameters are arguments of what is
      compiled: a second sampler, or one with other parameters, costs no compilation. For Linen,
      ``f(key, x) == model.apply(variables, x, <training mode>, rngs={"dropout": key})``, to the bit
      if the mode changes dropouts only.

    Raises:
      TypeError: if the model is not one of Flax; if a Linen model is given rngs.

    Reference:
      Gal & Ghahramani, Dropout as a Bayesian Approximation, 2016.

    >>> import jax, jax.numpy as jnp
    >>> from flax import nnx
    >>> from jaxdrop import mc
    >>> rngs = nnx.Rngs(0)
    >>> model = nnx.Sequential(nnx.Linear(3, 8, rngs=rngs), nnx.Dropout(0.5, rngs=rngs))
    >>> f = mc.sampler(model)
    >>> f(jax.random.key(0), jnp.ones((2, 3))).shape
    (2, 8)
    """
    return model_function(model, variables, options, drops=True)


def model_function(model: Any, variables: Any, options: dict[str, Any], *, drops: bool) -> Any:
    """Return ``f(key, x)`` of ``sampler``, or without ``drops`` the model as at test time."""
    if isinstance(model, nnx.Module):
        if variables is not None:
            raise TypeError("got variables with an NNX model, which holds its own: leave them out")
        return _nnx_function(model, options, drops)
    if isinstance(model, nn.Module):
        if variables is None:
            if model.scope is None:
                raise TypeError(
                    f"got {type(model).__name__} without variables; pass those of model.apply, as "
                    "sampler(model, variables), or a bound model, model.bind(variables)"
                )
            model, variables = model.unbind()
        if "rngs" in options:
            raise TypeError("got rngs for a Linen model; they are made of the key: leave rngs out")
        call = _LinenCall(model, tuple(sorted(options.items())), drops)
        return jax.tree_util.Partial(call, variables)
    raise TypeError(
        f"got {type(model).__name__}, expected a flax.nnx or flax.linen model; any function "
        "(key, x) -> y needs no sampler, pass it to mc_predict as it is"
    )


@dataclasses.dataclass(frozen=True)
class _LinenCall:
    """What the compiled program depends on; equal calls share one."""

    model: nn.Module
    options: tuple[tuple[str, Any], ...]
    drops: bool

    def __call__(self, variables: Any, key: Any, x: Any) -> Any:
        # Flax falls back on "params" for a dropout whose rng_collection has another name ...
        rngs = {"dropout": key, "params": jax.random.fold_in(key, 0)}
        rngs["zoneout"] = jax.random.fold_in(key, 1)  # ... but linen.Zoneout does not
        args, kwargs = call_arguments(self.model, x, dict(self.options))
        with _forced(self.drops):
            return self.model.apply(variables, *args, rngs=rngs, **kwargs)


def _nnx_function(model: nnx.Module, options: dict[str, Any], drops: bool) -> Any:
    copy = nnx.merge(*nnx.split(model))
    copy.eval()
    graphdef, state = nnx.split(copy)
    wants_rngs = "rngs" in options or "rngs" in argument_names(model) or _lacks_rngs(model)
    rest = {name: value for name, value in options.items() if name != "rngs"}
    call = _NNXCall(graphdef, tuple(sorted(rest.items())), wants_rngs, drops)
    # Plain arrays: a Variable remembers the trace it was made in and refuses others.
    return jax.tree_util.Partial(call, nnx.as_pure(state))


def _lacks_rngs(model: nnx.Module) -> bool:
    """Whether a dropout has no stream, and the call takes arguments of any name."""
    lone = any(getattr(layer, "rngs", model) is None for _, layer in find_dropouts(model))
    return lone and takes_any_name(model)


@dataclasses.dataclass(frozen=True)
class _NNXCall:
    """As ``_LinenCall``."""

    graphdef: Any
    options: tuple[tuple[str, Any], ...]
    wants_rngs: bool
    drops: bool

    def __call__(self, state: Any, key: Any, x: Any) -> Any:
        model = nnx.merge(self.graphdef, state)
        if self.drops:
            force_nnx(model)
        tags = {n.tag for _, n in nnx.iter_graph(model) if isinstance(n, nnx.RngStream)}
        keys: Any = {tag: jax.random.fold_in(key, i) for i, tag in enumerate(sorted(tags))}
        nnx.reseed(model, policy="match_shape", **keys)
        options = dict(self.options)
        if self.wants_rngs:
            options["rngs"] = nnx.Rngs(jax.random.fold_in(key, len(tags)))
        args, kwargs = call_arguments(model, x, options)
        with _forced(self.drops):  # of a Linen module in a bridge
            return model(*args, **kwargs)


def _forced(drops: bool) -> Any:
    return nn.intercept_methods(force_dropout) if drops else contextlib.nullcontext()
