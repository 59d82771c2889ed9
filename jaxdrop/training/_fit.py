"""fit: a whole training run; killed at any moment, it resumes and ends bit for bit identical."""

import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from jaxdrop._core.checks import check_count, check_function, check_integer, check_switch
from jaxdrop.training._calls import make_call
from jaxdrop.training._checkpoint_error import CheckpointError
from jaxdrop.training._checkpoints import Checkpoints
from jaxdrop.training._config import plain_config
from jaxdrop.training._dataset import Dataset
from jaxdrop.training._epoch_order import StepRows
from jaxdrop.training._evaluate import make_evaluation
from jaxdrop.training._folder_lock import held
from jaxdrop.training._folder_path import run_folder
from jaxdrop.training._hyperparams import injected_hyperparams
from jaxdrop.training._log import Log, summary_writer
from jaxdrop.training._mesh import check_mesh, on_mesh
from jaxdrop.training._progress_bar import progress_bar
from jaxdrop.training._run_file import describe_key, open_run
from jaxdrop.training._state import TrainState, check_state
from jaxdrop.training._step import step_function
from jaxdrop.training._stop_signals import StopSignals

S = TypeVar("S", bound=TrainState)
AHEAD = 2  # calls handed to the device before the host waits for one


def fit(
    state: S,
    loss_fn: Callable[..., Any],
    data: PyTree,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    accumulate: int = 1,
    steps_per_call: int = 1,
    kept_fn: Callable[[Any, Any], Any] | None = None,
    folder: str | PathLike[str] | None = None,
    metric_fn: Callable[..., Any] | None = None,
    test: PyTree | None = None,
    config: Mapping[str, Any] | None = None,
    mesh: Mesh | None = None,
    save_every: int = 1000,
    keep: int = 3,
    log_every: int = 100,
    tensorboard: bool = False,
    tick: Callable[[int], None] | None = None,
) -> tuple[S, list[dict[str, Any]]]:
    """Train for some epochs, from where the run in the folder was, or from the state given.

    ``rows of step n = epoch_order(seed, n // steps, rows)[batch n % steps]``, with
    ``steps = rows // batch_size`` in an epoch; ``key of step n = fold_in(state.dropout_key, n)``.
    Nothing else is random. A run that was killed and resumed has the parameters, metrics and masks
    of one that was not, bit for bit, on the same devices and versions. On a GPU the step and the
    evaluation are compiled with deterministic kernels for that; a process started with
    ``XLA_FLAGS=--xla_gpu_deterministic_ops=false`` gets the fast ones.

    Args:
      state: a TrainState or NNXTrainState. It is donated: use the one that is returned.
      loss_fn: as for ``make_train_step``; its metrics are scalars, none of them named "step",
        "epoch" or "loss", which every line of metrics has for its own.
      data: arrays with one leading axis (a dict, a tuple), kept in memory and given to loss_fn as
        batches; or a source with a length and rows by number, such as a ``grain.MapDataset``,
        whose rows are stacked. What does not fill a batch is left out of the epoch.
      seed: of the batch order; 0 <= seed < 2**32.
      epochs: passes over the rows, at least 1. With more of them, a finished run is continued;
        fewer than were done are refused.
      batch_size: rows in a step, over all devices and processes.
      accumulate: in how many microbatches a step computes its batch, as in ``make_train_step``: a
        divisor of batch_size. A folder is refused if it was started with another number.
      steps_per_call: how many steps are handed to the device at a time, for small steps on a fast
        device: the data, arrays that fit there, are copied to it once (to each of a mesh), and it
        gathers its batches; of a source, the rows of all these steps are stacked. The numbers stay
        what they are. Between the steps of a call nothing is saved, logged, stopped or ticked: a
        checkpoint that is due is saved when the call ends, and so is a run that is asked to stop.
        Calls are shorter at the end of an epoch, if there is a metric_fn, and of the run; each
        length is compiled.
      kept_fn: which units a step uses, for an optimizer ``update_kept``; see ``make_train_step``.
      folder: for run.json, metrics.jsonl and checkpoints; None saves nothing. One call at a time
        can use it. With several processes, all of them must see the same folder.
      metric_fn: as for ``make_eval_step``; returns a dict of arrays with one element per row. At
        the end of each epoch the means over test are logged, with "epoch". The names that loss_fn
        cannot use are taken here as well: call a loss "test_loss".
      test: rows to evaluate, in the form of data.
      config: what else the numbers depend on, such as the model's size; JSON values, or scalars
        of NumPy. A folder is refused if it was started with another seed, batch_size, dropout_key,
        data or config, or with other numbers in ``optax.inject_hyperparams``. Any other optimizer
        hides its learning rate in functions: name it here, or a change of it goes unnoticed.
      mesh: spreads each batch over its axis "data". A state on one device is copied to all of
        them; ``shard_state`` spreads it by rules. ``jax.make_mesh`` makes explicit axes, for which
        a loss_fn has to be written, unless it gets ``axis_types=(AxisType.Auto, ...)``.
      save_every: steps between checkpoints. One is also saved at the end.
      keep: how many checkpoints stay.
      log_every: steps between lines of metrics. The last step of a call has one in any case.
      tensorboard: also write the metrics to ``folder/tensorboard``; needs tensorboardX.
      tick: called with the number of steps just done, in place of a progress bar.

    Returns:
      The state after the last step, and the lines of metrics of the whole run as dicts.

    Raises:
      ValueError, TypeError: for invalid settings or data.
      CheckpointError: if the folder is another run's, is in use, is damaged, was deleted during the
        run, or cannot be written to. A damaged metrics.jsonl is no error: the run continues with
        the lines that can be read, and the damaged file is kept beside it.
      Stopped: after SIGTERM or Ctrl-C, when the step under way is saved. Exit code 143 or 130.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, optax, jaxdrop, jaxdrop.training as jt
    >>> model = nn.Dense(1)
    >>> def loss_fn(variables, batch, key):
    ...     x = jaxdrop.dropout(key, batch["x"], 0.5)
    ...     return jnp.mean((model.apply(variables, x) - batch["y"]) ** 2)
    >>> data = {"x": jnp.ones((64, 4)), "y": jnp.ones((64, 1))}
    >>> state = jt.TrainState.create(
    ...     apply_fn=model.apply, params=model.init(jax.random.key(0), data["x"])["params"],
    ...     tx=optax.sgd(0.01), dropout_key=jax.random.key(1),
    ... )
    >>> state, metrics = jt.fit(state, loss_fn, data, seed=0, epochs=3, batch_size=16, log_every=4)
    >>> int(state.step), [line["step"] for line in metrics]
    (12, [4, 8, 12])
    """
    seed = _check_seed(seed)
    epochs = check_count(epochs, "epochs", "passes over the rows")
    batch_size = check_count(batch_size, "batch_size", "rows in a step")
    save_every = check_count(save_every, "save_every", "steps between checkpoints")
    keep = check_count(keep, "keep", "how many checkpoints stay")
    log_every = check_count(log_every, "log_every", "steps between lines of metrics")
    place, settings = None if folder is None else run_folder(folder), plain_config(config)
    check_state(state, "fit")
    accumulate = check_count(accumulate, "accumulate", "microbatches in a step")
    most = check_count(steps_per_call, "steps_per_call", "steps handed to the device at a time")
    if batch_size % accumulate:
        raise ValueError(f"got {accumulate=} and {batch_size=}, expected a divisor of batch_size")
    check_mesh(mesh, batch_size, accumulate)
    if (metric_fn is None) != (test is None):
        raise ValueError(
            f"got metric_fn={metric_fn!r:.60} and test of type {type(test).__name__}: metric_fn "
            "and test belong together, so give both or neither"
        )
    if tick is not None:
        check_function(tick, "tick", "fit takes a function of the number of steps that were done")
    if check_switch(tensorboard, "tensorboard"):
        summary_writer()
        if folder is None:
            raise ValueError("tensorboard=True needs a folder")
    rows = Dataset(data, "data")
    steps = rows.count // batch_size
    if not steps:
        raise ValueError(f"got batch_size={batch_size}, and there are {rows.count} rows")
    state = on_mesh(state, mesh)
    step = step_function(loss_fn, accumulate=accumulate, mesh=mesh, kept_fn=kept_fn)
    call = make_call(step, state, rows, mesh, batch_size, most)
    evaluate = None
    if metric_fn is not None:
        evaluate = make_evaluation(metric_fn, Dataset(test, "test"), batch_size, mesh, state)
    total = epochs * steps
    first = jax.process_index() == 0

    with ExitStack() as stack:
        checkpoints, record = None, None
        if place is not None:
            facts = {
                "seed": seed,
                "batch_size": batch_size,
                "dropout_key": describe_key(state.dropout_key),
                "data": rows.description,
                "config": settings,
                "hyperparameters": injected_hyperparams(state.opt_state),
            } | ({"accumulate": accumulate} if accumulate > 1 else {})  # older folders have none
            still_there = stack.enter_context(held(place, "fit"))
            open_run(place, facts, write=first)
            checkpoints = Checkpoints(place, keep, still_there)
            stack.callback(checkpoints.close)
            saved = checkpoints.latest()
            if saved is not None:
                _check_end(saved, steps, epochs, place)
                state, record = checkpoints.restore(saved, state)
                if first:
                    print(f"Resuming from step {saved} of {total} in {place}.", file=sys.stderr)
        begin = int(state.step)
        _check_end(begin, steps, epochs, None)
        log = Log(place, begin, record, write=first, tensorboard=tensorboard)
        stack.callback(log.close)
        stop = stack.enter_context(StopSignals()) if checkpoints else StopSignals()
        if tick is None:
            tick = stack.enter_context(progress_bar("step", total, begin))
        else:
            tick(min(begin, total))
        step_rows = StepRows(seed, rows.count, batch_size, total, (AHEAD + 1) * most)
        under_way: deque[tuple[int, int, dict[str, jax.Array]]] = deque()

        def settle(ahead: int) -> None:
            while len(under_way) > ahead:
                number, count, metrics = under_way.popleft()
                jax.block_until_ready(metrics)
                for i, done in enumerate(range(number + 1, number + count + 1)):
                    if done % log_every == 0 or done == total:
                        log.write(
                            done, {k: np.ravel(v)[i : i + 1].item() for k, v in metrics.items()}
                        )
                tick(count)

        number = begin
        while number < total:
            count = min(most, total - number, steps - number % steps if evaluate else total)
            state, metrics = call(state, step_rows(number, count))
            under_way.append((number, count, metrics))
            number += count
            settle(AHEAD)
            if evaluate and number % steps == 0:
                settle(0)
                log.write(number, {"epoch": number // steps, **evaluate(state)})
            if checkpoints is None:
                continue
            stopping = stop.asked()
            if stopping or number % save_every < count or number == total:
                settle(0)
                checkpoints.check()
                log.flush()
                checkpoints.save(number, state, log.record())
            if stopping:
                checkpoints.wait()
                stop.end(number, total, checkpoints.place)
        settle(0)
        if checkpoints is not None:
            checkpoints.wait()
    return state, log.lines


def _check_end(step: int, steps: int, epochs: int, place: Path | None) -> None:
    """Refuse to return a state that was trained for longer than what is asked for."""
    if step <= epochs * steps:
        return
    done = f"step {step}, and epochs={epochs} end at step {epochs * steps} ({steps} in an epoch)"
    if place is None:
        raise ValueError(f"got a state that has done {done}; give more epochs, or a new state")
    raise CheckpointError(
        f"the run in {place} has done {done}; nothing was changed. Give epochs={-(-step // steps)} "
        "or more to have it, or choose another folder"
    )


def _check_seed(seed: int) -> int:
    expected = "a whole number from 0 to 2**32 - 1"
    number = check_integer(seed, "seed", expected)
    if not 0 <= number < 2**32:
        raise ValueError(f"got {seed=}, expected {expected}")
    return number
