"""Train a small transformer on text, byte by byte, with and without dropout.

Question: does dropout keep a transformer that is large for its text from learning it by heart? Two
equal Flax NNX transformers read the same 60,000 bytes again and again; one has dropout on the
embeddings, on the output of attention, on the MLP, and on whole branches (stochastic depth, Huang
et al. 2016), its rate rising from 0 at first by an optax schedule.

    scripts/run char_lm [--steps N] [--rate R] [--dtype bfloat16] [--text python|kjv] [--out DIR]

It takes a few minutes on 2 CPU cores. Expected: without dropout the loss on new text falls and then
rises, while the loss on the training text keeps falling; with dropout it does not rise, or rises
later, and its best value is no worse. Measured (results/char_lm/result.json, which ``scripts/run
reproduce`` runs again), in bits per byte after 1218 steps:

                  train   test   best test
    no dropout     0.12   6.72   3.24 at step 290
    dropout        2.11   2.78   2.78 at step 1218

One seed, one rate, and a text that is small on purpose: this shows the mechanism, not how well a
transformer of this size can read. The rate, the learning rate and the size were not tuned: they are
the first that were tried.

The run saves itself as it goes: interrupt it in any way, type the same command, and it resumes and
ends with the same numbers. It uses all devices that it sees; --model-devices says how many of them
share one copy of the parameters. On several hosts, give each of them --coordinator HOST:PORT,
with --num-processes N and --process-id I, or --cluster where the cluster's environment has these
(Slurm, Open MPI, Cloud TPU).
"""

from pathlib import Path
from typing import Any

import jax

from experiments._harness.result import params_digest
from experiments._harness.tick import Tick, silent
from experiments._networks.char_training import CharConfig as Config
from experiments._networks.char_training import check as check
from experiments._networks.char_training import (
    epochs_and_steps,
    gathered,
    load,
    make_mesh,
    summarise,
    train,
)
from experiments.char_lm.report import draw as draw
from experiments.char_lm.report import show as show
from jaxdrop.training import saved_step

ARMS = {"none": "no dropout", "dropout": "dropout"}
PROCESSES = True  # see experiments/_harness/processes.py


def ticks(config: Config) -> int:
    """Return how many steps ``run`` will report."""
    return len(ARMS) * epochs_and_steps(config)[1]


def resume_point(config: Config, folder: Path) -> str | None:
    """Say how far the run in this folder got."""
    done = sum(saved_step(folder / arm) or 0 for arm in ARMS)
    return f"step {done} of {ticks(config)}" if done else None


def run(config: Config, tick: Tick = silent, folder: Path | None = None) -> dict[str, Any]:
    """Train both models; return {"numbers": ..., "digests": ...}."""
    mesh = make_mesh(config)
    seen, unseen = load(config)
    numbers: dict[str, Any] = {}
    digests: dict[str, Any] = {"data": params_digest({"seen": seen, "unseen": unseen})}
    for arm, label in ARMS.items():
        place = None if folder is None else folder / arm
        rate = config.rate if arm == "dropout" else 0.0
        state, lines = train(config, rate, seen, unseen, mesh, tick, place)
        numbers[arm] = {"label": label, **summarise(lines)}
        digests[arm] = params_digest(jax.device_get(gathered(state.params)))
    return {"numbers": numbers, "digests": digests}
