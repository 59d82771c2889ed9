"""sweep: one training for many keys, rates and settings, in a few calls of one program."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import PyTree

from jaxdrop._core.checks import check_choice, check_count, check_function, check_mapping
from jaxdrop._core.key import is_typed
from jaxdrop.training._config import plain_config
from jaxdrop.training._folder_path import run_folder
from jaxdrop.training._mesh import check_is_mesh
from jaxdrop.training._sweep_grid import Grid
from jaxdrop.training._sweep_identity import identity
from jaxdrop.training._sweep_parts import SweepParts, check_part
from jaxdrop.training._sweep_vectorize import Way, faster_way, make_chunk


def sweep(
    train: Callable[..., Any],
    axes: Mapping[str, ArrayLike | Sequence[Any]],
    *,
    shared: Mapping[str, PyTree] | None = None,
    vectorize: Literal["vmap", "map", "auto"] = "vmap",
    trial: Callable[..., Any] | None = None,
    chunk: int | None = None,
    mesh: jax.sharding.Mesh | None = None,
    folder: str | os.PathLike[str] | None = None,
    config: Mapping[str, Any] | None = None,
    part: tuple[int, int] | None = None,
    on_chunk: Callable[[int, Way], None] = lambda runs, way: None,
) -> PyTree:
    """Train once for every combination of keys, rates and other settings.

    ``result[i, j, ...] = train(first=first[i], second=second[j], ..., **shared)``

    The runs are pure functions of their arguments, so it does not matter which of them share a
    chunk, a device or a process.

    Bits. With "map" every run is the body of a loop, the program of ``jax.jit(train)``: on a CPU it
    has the bits of the run alone, on one device or split over eight, as the tests check. With
    "vmap" the random draws and all masks are the same bits; but a batch of matrix products is
    computed by another routine than a single product, which adds its terms in another order. That
    changes the rounding of the last digit at every step, which training amplifies: ``scripts/bench
    training`` measures how much in the loss. Chunks of another size may be batched differently. On
    a GPU the program is compiled with deterministic kernels, unless the process was started with
    ``XLA_FLAGS=--xla_gpu_deterministic_ops=false``.

    Args:
      train: a pure function that jit can trace, from named arguments to a tree of arrays. By
        convention ``make_train(config)`` returns it, and what shapes depend on is in config.
      axes: for each swept argument its values along the first dimension: typed keys, rates,
        learning rates, schedules as rows. The last axis runs fastest.
      shared: arguments that all runs have in common, such as the data; not copied per run.
      vectorize: "vmap" batches the runs of a chunk into one program, best for a GPU and for small
        networks; "map" runs them one after another inside one program, best for networks whose
        single products fill the machine. "auto" times ``trial`` both ways and takes the faster.
      trial: for "auto", a ``train`` of a few steps that takes the same arguments.
      chunk: how many runs share the memory at a time; None for all of them. Chunks are made equal
        in size, the last one being filled up with repeated runs whose results are dropped.
      mesh: devices to split every chunk over, on all its axes; of one process. None for one device.
      folder: where finished chunks are kept, each with its checksum. A sweep that was interrupted
        and is called again with the same folder resumes after its last chunk, with the vectorize
        it was started with. Another sweep is refused: other axes, another train (the program that
        JAX makes of it, and the arrays that it closes over), other shared arguments, config or
        chunks. So may this one be under other versions, which may compile it to another program.
      config: what else the results depend on, as JSON values; stored in the folder and compared.
      part: (i, n) for job i of the n that share the sweep and its folder, such as (2, 3): it runs
        the chunks i, i + n, i + 2 n and so on, and keeps them in ``folder/part-2-of-3``. It can be
        killed and called again like a whole sweep. Afterwards a call without part joins what all
        have kept, and runs what is missing; it is refused while a job runs. Where the jobs ran on
        machines of one kind, the results are those of a single call. Each process of
        ``jax.distributed`` can be a job: ``(jax.process_index() + 1, jax.process_count())``.
      on_chunk: called with the number of runs that are done, of this part if it is one, and "vmap"
        or "map", after every chunk; and once before the first, if the folder already held some.

    Returns:
      The tree of results as numpy arrays on the host, with the grid's shape in front; None for a
      part.

    Raises:
      TypeError, ValueError: if an argument is invalid, or train returns typed keys.
      CheckpointError: if the folder holds another sweep or a damaged chunk, is in use, was deleted
        meanwhile, or cannot be written to. Nothing is overwritten.

    >>> import jax, jax.numpy as jnp, jaxdrop, jaxdrop.training as jt
    >>> def make_train(steps):
    ...     def train(key, rate, x):
    ...         def step(w, key):
    ...             return w - 0.1 * jnp.mean(jaxdrop.dropout(key, x, rate)), None
    ...         return jax.lax.scan(step, 1.0, jax.random.split(key, steps))[0]
    ...     return train
    >>> axes = {"key": jax.random.split(jax.random.key(0), 3), "rate": jnp.array([0.0, 0.5])}
    >>> jt.sweep(make_train(10), axes, shared={"x": jnp.ones(100)}).shape
    (3, 2)
    """
    check_function(train, "train", "sweep takes a function from named arguments to arrays")
    check_function(on_chunk, "on_chunk", "sweep takes a function of (runs, way)")
    if trial is not None:
        check_function(trial, "trial", "sweep takes a train of a few steps")
    if mesh is not None:
        check_is_mesh(mesh)
    expected = "a dict from names of arguments to what all runs have in common"
    grid = Grid(axes)
    shared = {} if shared is None else dict(check_mapping(shared, "shared", expected))
    both = sorted(set(axes) & set(shared))
    if both:
        raise ValueError(f"got {both} both in axes and in shared; expected each argument once")
    _check(vectorize, trial, chunk)
    place, settings = None if folder is None else run_folder(folder), plain_config(config)
    part = check_part(part)
    if part is not None and (place is None or vectorize == "auto"):
        raise ValueError(
            f"got {part=} with {folder=} and {vectorize=}; expected the folder in which the parts "
            "meet, and 'vmap' or 'map', since 'auto' may choose another way in each of them"
        )
    devices = 1 if mesh is None else mesh.size
    chunks = -(-grid.size // min(chunk or grid.size, grid.size))
    width = -(-grid.size // (chunks * devices)) * devices
    chunks = -(-grid.size // width)
    given = shared
    if mesh is not None:
        spread = jax.NamedSharding(mesh, jax.P(mesh.axis_names))
        shared = jax.device_put(shared, jax.NamedSharding(mesh, jax.P()))

    def runs(number: int) -> dict[str, jax.Array]:
        first = number * width
        chosen = grid.runs(np.minimum(np.arange(first, first + width), grid.size - 1))
        return chosen if mesh is None else jax.device_put(chosen, spread)

    def runs_in(number: int) -> int:
        return min(width, grid.size - number * width)

    mine = range(chunks) if part is None else range(part[0] - 1, chunks, part[1])
    with ExitStack() as stack:
        kept = None if place is None else SweepParts(place, part, stack)
        way = vectorize
        if vectorize == "auto" and trial:
            stored = kept and kept.stored_way()
            way = stored or faster_way(trial, lambda: runs(0), shared, mesh)
        assert way != "auto"
        if kept is not None:
            kept.begin(
                {
                    **identity(train, grid.run(0), given),
                    "axes": grid.digests(),
                    "shape": list(grid.shape),
                    "width": width,
                    "vectorize": way,
                    "config": settings,
                }
            )
        call = make_chunk(train, way, mesh)
        like = jax.eval_shape(call, runs(0), shared)
        if any(is_typed(a) for a in jax.tree.leaves(like)):
            raise TypeError("train returned typed keys; return jax.random.key_data of them")
        found = {number: kept and kept.load(number, like) for number in mine}
        done = sum(runs_in(number) for number in mine if found[number] is not None)
        if done:
            on_chunk(done, way)
        for number in mine:
            if found[number] is not None:
                continue
            found[number] = jax.device_get(call(runs(number), shared))
            if kept is not None:
                kept.save(number, found[number])
            done += runs_in(number)
            on_chunk(done, way)
    if part is not None:
        return None

    def join(*leaves: np.ndarray) -> np.ndarray:
        whole = np.concatenate(leaves)[: grid.size]
        return whole.reshape(*grid.shape, *whole.shape[1:])

    return jax.tree.map(join, *found.values())


def _check(vectorize: str, trial: Callable[..., Any] | None, chunk: int | None) -> None:
    check_choice(vectorize, "vectorize", ("vmap", "map", "auto"))
    if vectorize == "auto" and trial is None:
        raise ValueError(
            "vectorize='auto' times a short training both ways: pass trial=, a train of a few "
            "steps with the same arguments, or choose 'vmap' or 'map'"
        )
    if chunk is not None:
        check_count(chunk, "chunk", "how many runs share the memory")
