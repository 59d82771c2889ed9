"""The two ways to run a chunk of a sweep, vmap and map, and a trial that finds the faster one."""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax

from jaxdrop.training._deterministic import compiler_options

Way = Literal["vmap", "map"]
Chunk = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]


# A second sweep of the same train compiles nothing. 16 programs are kept, with what they close
# over.
@functools.lru_cache(maxsize=16)
def make_chunk(train: Callable[..., Any], way: Way, mesh: jax.sharding.Mesh | None) -> Chunk:
    """Build the jitted ``chunk(runs, shared)``: train for every entry of ``runs``.

    On a GPU its kernels are deterministic.

    Args:
      train: called as ``train(**run, **shared)``.
      way: "vmap" batches the runs into one program; "map" is a loop over them in one program.
      mesh: devices to split the runs over, each of which loops or batches by itself; None for one.
    """

    def chunk(runs: Mapping[str, Any], shared: Mapping[str, Any]) -> Any:
        def one(run: Mapping[str, Any]) -> Any:
            return train(**run, **shared)

        return jax.vmap(one)(runs) if way == "vmap" else jax.lax.map(one, runs)

    if mesh is None:
        return jax.jit(chunk, compiler_options=compiler_options())
    spread = jax.P(mesh.axis_names)
    # check_vma would require the carry of every scan in train to start out as varying.
    split = jax.shard_map(
        chunk, mesh=mesh, in_specs=(spread, jax.P()), out_specs=spread, check_vma=False
    )
    return jax.jit(split, compiler_options=compiler_options())


def faster_way(
    trial: Callable[..., Any],
    runs: Callable[[], Mapping[str, Any]],
    shared: Mapping[str, Any],
    mesh: jax.sharding.Mesh | None,
) -> Way:
    """Time the trial both ways, compilation left out, and return the faster one.

    Args:
      trial, shared, mesh: as in ``sweep``.
      runs: makes the runs again for every call, since keys are not used twice.
    """
    taken: dict[Way, float] = {}
    for way in ("vmap", "map"):
        chunk = make_chunk(trial, way, mesh)
        jax.block_until_ready(chunk(runs(), shared))
        again = jax.block_until_ready(runs())
        start = time.perf_counter()
        jax.block_until_ready(chunk(again, shared))
        taken[way] = time.perf_counter() - start
    return min(taken, key=lambda way: taken[way])
