"""SIGKILL in the middle of a call of several steps, and of a microbatch: what was saved is there.

As a program this file is the run that is killed: FOLDER.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdrop
import jaxdrop.training as jt

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CALL, PARTS, SAVED = 4, 2, 4  # steps in a call, microbatches in a step, steps that are saved
X = np.random.RandomState(0).normal(size=(48, 6)).astype(np.float32)


def train(folder: Path, *, kill: bool = False) -> tuple[jt.TrainState, list[dict[str, Any]]]:
    """Twelve steps in three calls; a kill comes in a microbatch of the second call's third step."""
    seen: list[int] = []

    def microbatch(step: Any) -> None:
        seen.append(int(step))
        if kill and seen.count(SAVED + 2) == 2:
            give_up = time.monotonic() + 60  # for the checkpoint, which another thread writes
            while not (folder / "checkpoints" / str(SAVED)).exists():
                assert time.monotonic() < give_up
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)

    def loss_fn(variables: Any, batch: Any, key: Any, step: Any) -> Any:
        jax.debug.callback(microbatch, step)
        h = jaxdrop.dropout(key, jnp.tanh(batch["x"] @ variables["params"]["up"]), 0.5)
        return jnp.mean((h @ variables["params"]["down"]) ** 2)

    params = {"up": X[:6].copy(), "down": X[6:12, :1].copy()}
    state = jt.TrainState.create(
        apply_fn=None,  # the loss applies no module
        params=params,
        tx=optax.sgd(0.1, momentum=0.9),
        dropout_key=jax.random.key(1),
    )
    return jt.fit(
        state, loss_fn, {"x": X}, seed=0, epochs=2, batch_size=8, accumulate=PARTS,
        steps_per_call=CALL, folder=folder, save_every=CALL, log_every=1, tick=lambda n: None,
    )  # fmt: skip


def test_a_kill_in_a_microbatch_of_a_call_loses_nothing_that_was_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = subprocess.run(
        [sys.executable, __file__, str(tmp_path / "killed")],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    assert jt.saved_step(tmp_path / "killed") == SAVED
    state, lines = train(tmp_path / "killed")
    assert f"Resuming from step {SAVED} of 12" in capsys.readouterr().err
    whole, expected = train(tmp_path / "whole")
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(whole.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert lines == expected and [line["step"] for line in lines] == list(range(1, 13))


if __name__ == "__main__":
    train(Path(sys.argv[1]), kill=True)
