"""Many devices: a state spread over a mesh by rules, and a step compiled for it."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxdrop._core.checks import check_mapping
from jaxdrop.training._deterministic import compiler_options
from jaxdrop.training._donating_step import DonatingStep
from jaxdrop.training._state import TrainState, check_state
from jaxdrop.training._typed_keys import keys_of_words, words_of_keys

S = TypeVar("S", bound=TrainState)
DATA = "data"


def shard_state(state: S, mesh: Mesh, rules: Mapping[str, P] | None = None) -> S:
    """Spread a train state over a mesh: parameters by rules, all else on every device.

    Only where the numbers are stored changes: a step on a sharded state draws the same masks, and
    computes the same up to the order in which sums over devices are taken.

    Args:
      state: a TrainState or NNXTrainState. With several processes, each has the same one.
      mesh: devices of all processes; ``fit`` spreads batches over its axis "data".
      rules: a regular expression for the path of a parameter, such as ``"hidden/kernel$"``, and
        how its axes are spread, such as ``PartitionSpec(None, "model")``. The first rule found in
        a path counts. The optimizer's moments follow their parameters.

    Returns:
      The state, each array of it on all devices of the mesh.

    Raises:
      TypeError: if state is no train state, mesh no mesh, or rules no dict.
      ValueError: if a rule matches nothing, or a length is not divisible by its devices.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, optax, jaxdrop.training as jt
    >>> from jax.sharding import PartitionSpec as P
    >>> state = jt.TrainState.create(
    ...     apply_fn=nn.Dense(8).apply, tx=optax.adam(1e-3), dropout_key=jax.random.key(1),
    ...     params=nn.Dense(8).init(jax.random.key(0), jnp.ones((1, 4)))["params"],
    ... )
    >>> mesh = jax.make_mesh((1, jax.device_count()), ("data", "model"))
    >>> state = jt.shard_state(state, mesh, {"kernel$": P(None, "model")})
    >>> state.opt_state[0].mu["kernel"].sharding.spec == P(None, "model")
    True
    """
    check_state(state, "shard_state")
    check_is_mesh(mesh)
    expected = "a dict from regular expressions to PartitionSpecs"
    rules = {} if rules is None else dict(check_mapping(rules, "rules", expected))
    unused = set(rules)

    def place(path: Any, leaf: Any) -> NamedSharding:
        name = path_name(path)
        spec = P()
        # A state's scalars (step, Adam's count) sit on paths that a rule may match.
        for pattern in rules if np.ndim(leaf) else ():
            if re.search(pattern, name):
                unused.discard(pattern)
                spec = rules[pattern]
                break
        _check_spec(name, np.shape(leaf), spec, mesh)
        return NamedSharding(mesh, spec)

    places = jax.tree_util.tree_map_with_path(place, state)
    if unused:
        known = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(state.params)]
        raise ValueError(
            f"the rules {sorted(unused)} match no parameter; there are {', '.join(known)}"
        )
    # From numbers of the host, because each process may only hand in what it holds itself.
    numbers = jax.tree.map(np.asarray, words_of_keys(state))
    place_all = jax.jit(lambda numbers: keys_of_words(state, numbers), out_shardings=places)
    spread: S = place_all(numbers)
    return spread


def on_mesh(state: S, mesh: Mesh | None) -> S:
    """Return the state if it is on all of the mesh; copy one that is on one device to all.

    Raises:
      ValueError: if it is on other devices.
    """
    if mesh is None:
        return state
    wanted = set(mesh.devices.flat)
    places = [getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(state)]
    if all(isinstance(p, NamedSharding) and p.device_set == wanted for p in places):
        return state
    if all(p is None or len(p.device_set) == 1 for p in places):
        return shard_state(state, mesh)
    found = sorted({d.id for p in places if p is not None for d in p.device_set})
    raise ValueError(
        f"the state is on the devices {found}, in part or as a whole, and the mesh has "
        f"{sorted(d.id for d in wanted)}; spread it with jaxdrop.training.shard_state(state, mesh)"
    )


def compile_step(
    step: Callable[..., Any], state: TrainState, mesh: Mesh | None
) -> Callable[..., Any]:
    """Return the step as fit compiles it: on a GPU, with deterministic kernels.

    On a mesh its state stays where it is, and every device gets metrics.
    """
    options, places = compiler_options(), None
    if mesh is not None:
        own = jax.tree.map(lambda leaf: leaf.sharding, state)
        places = (own, NamedSharding(mesh, P()))
    elif options is None:
        return step
    return DonatingStep(step, out_shardings=places, compiler_options=options)


def check_is_mesh(mesh: Any) -> None:
    """Raise TypeError if this is no mesh of devices."""
    if not isinstance(mesh, Mesh):
        raise TypeError(
            f"got mesh={mesh!r:.60} of type {type(mesh).__name__}, expected a jax.sharding.Mesh, "
            "such as jax.make_mesh((jax.device_count(),), ('data',))"
        )


def check_mesh(mesh: Mesh | None, batch_size: int, accumulate: int = 1) -> None:
    """Raise ValueError if batches of this size, in so many parts, cannot be spread over a mesh."""
    if mesh is None:
        return
    check_is_mesh(mesh)
    if DATA not in mesh.shape:
        raise ValueError(f"the mesh has the axes {tuple(mesh.shape)}; fit needs one named 'data'")
    if batch_size % (mesh.shape[DATA] * accumulate):
        parts = f" and {accumulate=}" if accumulate > 1 else ""
        raise ValueError(
            f"got {batch_size=}{parts} for {mesh.shape[DATA]} devices along 'data'; expected a "
            f"multiple of {mesh.shape[DATA] * accumulate}"
        )


def path_name(path: Any) -> str:
    """Return a leaf's path as ``params/hidden/kernel``."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _check_spec(name: str, shape: tuple[int, ...], spec: P, mesh: Mesh) -> None:
    if len(spec) > len(shape):
        raise ValueError(f"{name} has shape {shape}, and its rule {spec} names more axes")
    for length, axes in zip(shape, spec, strict=False):
        names = (axes,) if isinstance(axes, str) else tuple(axes or ())
        unknown = [a for a in names if a not in mesh.shape]
        if unknown:
            raise ValueError(f"the rule {spec} of {name} names {unknown}, not in {mesh}")
        devices = int(np.prod([mesh.shape[a] for a in names]))
        if length % devices:
            raise ValueError(
                f"{name} has shape {shape}: an axis of {length} cannot be spread over {devices} "
                "devices"
            )
