"""Programs: a model's call in training and in test mode, traced with marks, and its runs."""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from flax import nnx

from jaxdrop.surgery._audit_flow import Flow, flow_of, without_dead_code
from jaxdrop.surgery._audit_record import Recording
from jaxdrop.surgery._audit_sites import Site
from jaxdrop.surgery._audit_watch import Interceptor, Watch, watched_nnx
from jaxdrop.surgery._find_dropouts import find_dropouts

_MODES = {"train": True, "training": True, "is_training": True, "deterministic": False}
"""Names by which calls take the mode, and their value in training."""


class Program(NamedTuple):
    """One call of a model: ``traced(variables, streams, key, arrays)``, results and streams."""

    traced: Any
    variables: Any
    streams: Any  # the streams of keys of an NNX model, as a call leaves them to the next
    arrays: list[Any]
    called: Flow
    """Of all that is computed."""
    flow: Flow
    """Of what reaches the results."""


def trace(
    model: Any, variables: Any, given: tuple[Any, Mapping[str, Any]], training: bool, watch: Watch
) -> Program:
    """Trace the call of a model in one mode.

    Args:
      model: an NNX model, or a Linen model with its variables.
      given: what it is called with, positionally and by name.
      training: the mode, for arguments of the call that are known to say it.
      watch: meets the dropouts.
    """
    args, options = given
    options = {**_mode_arguments(model, given, training), **options}
    leaves, tree = jax.tree.flatten((args, options))
    places = [i for i, leaf in enumerate(leaves) if hasattr(leaf, "dtype")]
    if isinstance(model, nnx.Module):
        call, variables, streams = _nnx(model, options, training, watch)
    else:
        call, streams = _linen(model, watch), ()

    def traced(variables: Any, streams: Any, key: Any, arrays: Any) -> Any:
        # A flag stays the Python value that the model looks at.
        now = dict(zip(places, arrays, strict=True))
        args, kwargs = jax.tree.unflatten(tree, [now.get(i, a) for i, a in enumerate(leaves)])
        return call(variables, streams, key, args, kwargs)

    arrays = [leaves[i] for i in places]
    program = jax.make_jaxpr(traced)(variables, streams, jax.random.key(0), arrays)
    needed = without_dead_code(program)
    return Program(needed, variables, streams, arrays, flow_of(program), flow_of(needed))


def run(program: Program, steps: int, seed: int) -> dict[Site, list[list[np.ndarray]]]:
    """Run steps one after the other, each with a key of its own and the streams of the one before.

    The model's results are left out, so that the compiler leaves out most of the model.

    Returns:
      For each dropout its results in each step: one array per place in the program where it stands,
      the calls there along the first axis.
    """
    recording = Recording()
    variables, streams = jax.tree.leaves(program.variables), jax.tree.leaves(program.streams)

    @jax.jit
    def step(variables: Any, streams: Any, key: Any, arrays: Any) -> Any:
        outs, records = recording.run(program.traced, [*variables, *streams, key, *arrays])
        return outs[len(outs) - len(streams) :], records

    key = jax.random.key(seed)
    found: dict[Site, list[list[np.ndarray]]] = {}
    for number in range(steps):
        now = jax.random.fold_in(key, number)
        streams, records = step(variables, streams, now, program.arrays)
        for site, arrays in jax.device_get(records).items():
            found.setdefault(site, []).append([np.asarray(a) for a in arrays])
    return found


def _linen(model: nn.Module, watch: Watch) -> Any:
    def call(variables: Any, streams: Any, key: Any, args: Any, kwargs: Any) -> Any:
        names = ("dropout", "params", "zoneout")
        rngs = {name: jax.random.fold_in(key, i) for i, name in enumerate(names)}
        mutable = [name for name in variables if name != "params"]
        with nn.intercept_methods(Interceptor(watch)):
            result = model.apply(variables, *args, rngs=rngs, mutable=mutable, **kwargs)
        return result, streams

    return call


def _nnx(model: nnx.Module, options: Any, training: bool, watch: Watch) -> Any:
    watched: Any = watched_nnx(model, watch)
    watched.train() if training else watched.eval()
    graphdef, *states = nnx.split(watched, nnx.RngState, ...)
    wants_rngs = "rngs" not in options and _wants_rngs(model)

    def call(state: Any, streams: Any, key: Any, args: Any, kwargs: Any) -> Any:
        merged = nnx.merge(graphdef, streams, state)
        if wants_rngs:
            kwargs = kwargs | {"rngs": nnx.Rngs(key)}
        with nn.intercept_methods(Interceptor(watch)):  # of a module in a bridge
            result = merged(*args, **kwargs)
        streams, state = map(nnx.as_pure, nnx.state(merged, nnx.RngState, ...))
        return (nnx.as_pure(result), state), streams

    streams, state = map(nnx.as_pure, states)
    return call, state, streams


def _wants_rngs(model: nnx.Module) -> bool:
    """Return whether a call takes rngs, by name or, where a dropout has none, among others."""
    parameters = inspect.signature(type(model).__call__).parameters
    if "rngs" in parameters:
        return True
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return anything and any(getattr(m, "rngs", m) is None for _, m in find_dropouts(model))


def check_modes(model: Any, args: tuple[Any, ...], training: Any, testing: Any) -> None:
    """Raise a sentence if the mode is given where both modes would get it, or is no dict."""
    for name, mode in (("training", training), ("testing", testing)):
        if mode is not None and not isinstance(mode, Mapping):
            raise TypeError(
                f"got {name}={mode!r:.60}, expected a dict of arguments of the call that say its "
                'mode, such as {"train": True}, or None'
            )
    for name in list(inspect.signature(type(model).__call__).parameters)[1 : 1 + len(args)]:
        if name in _MODES:
            raise ValueError(
                f"got the argument {name!r} among the inputs, so that both modes would have it: "
                "leave it out, the audit gives it; or give other inputs by name"
            )


def _mode_arguments(model: Any, given: Any, training: bool) -> dict[str, bool]:
    """Return the mode as those arguments of the model's call that are known to say it.

    An NNX model's argument that may be None is left at that: ``train()`` and ``eval()`` decide.
    """
    args, options = given
    parameters = list(inspect.signature(type(model).__call__).parameters.values())[1 + len(args) :]
    by_state = isinstance(model, nnx.Module)
    return {
        p.name: _MODES[p.name] is training
        for p in parameters
        if p.name in _MODES and p.name not in options and not (by_state and p.default is None)
    }
