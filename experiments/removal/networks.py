"""The two networks of the study: each is trained, and gives a step to be timed."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxdrop
from experiments._harness.result import CannotRun, params_digest
from experiments._harness.tick import Tick
from experiments._networks import char_training
from experiments._networks.char_training import CharConfig
from experiments._networks.feedforward import Choice, Net, forward, init
from experiments._networks.mnist_config import Scale, load_rows, scaled
from experiments._networks.recipe import Recipe, loss, optimizer
from experiments._networks.training import train_networks
from experiments.removal.times import Step
from jaxdrop.training import TrainState, make_train_step

BATCH = 128  # a multiple of 8 groups
RECIPE = Recipe(1500, BATCH, momentum=(0.5, 0.9), max_norm=3.0, evaluations=15)
PRESETS = {
    "cpu": Scale(5000, 512, 1500, RECIPE),
    "paper": Scale(60_000, 2048, 100_000, dataclasses.replace(RECIPE, decay=100.0)),
}
CHARACTERS = {
    "cpu": CharConfig(steps=140, layers=2, width=64, train_bytes=30_000, test_bytes=10_000),
    "paper": CharConfig(steps=3000, layers=6, width=256, context=128, train_bytes=200_000),
}
Ways = Mapping[str, Choice | None]


def check_units(config: Any, ways: Ways, units: int, batch: int) -> None:
    """Raise CannotRun for a way of leaving units out that cannot be taken."""
    for way, choice in ways.items():
        if choice is None:
            continue
        for rate in config.rates:
            try:
                jaxdrop.kept_units(
                    jax.random.key(0),
                    units,
                    rate,
                    block_size=choice.block_size,
                    contiguous=choice.contiguous,
                )
            except ValueError as error:
                raise CannotRun(f"{way} of {units} units: {error}") from error
        if batch % choice.groups:
            raise CannotRun(f"{way}: the batch of {batch} cannot be cut into so many parts")


class Mlp:
    """The network of the dropout paper on MNIST; errors in %."""

    measure = "test error, %"

    @staticmethod
    def check(config: Any, ways: Ways) -> None:
        check_units(config, ways, scaled(config, PRESETS).units, BATCH)

    def __init__(self, config: Any):
        self.config, self.scale = config, scaled(config, PRESETS)
        self.data, self.digest = load_rows(config, self.scale.rows)
        recipe = self.scale.recipe
        each = recipe.steps // recipe.evaluations
        self.steps = list(range(each, recipe.steps + 1, each))

    def net(self, rate: float, choice: Choice | None) -> tuple[Net, float]:
        """Return the network and the rate of its masks."""
        hidden = (self.scale.units,) * 2
        if choice is None:
            return Net(hidden), rate
        return Net(hidden, removed=(rate, choice)), 0.0

    def train(
        self, name: str, rate: float, choice: Choice | None, tick: Tick, folder: Path | None
    ) -> list[list[float]]:
        """Return the test errors during the training, for each seed."""
        net, of_masks = self.net(rate, choice)
        found = train_networks(
            name,
            self.config,
            net,
            self.scale.recipe,
            (self.data, self.digest),
            tick=tick,
            folder=folder,
            more={"rate": rate, "choice": choice},
            input_rate=[0.0],
            hidden_rate=[of_masks],
            learning_rate=[self.config.learning_rate],
        )
        errors: list[list[float]] = found.test_error[:, 0, 0, 0].astype(float).tolist()
        return errors

    def step(self, rate: float, choice: Choice | None) -> Step:
        """Return a step of the training."""
        (net, of_masks), recipe = self.net(rate, choice), self.scale.recipe

        def loss_fn(variables: Any, batch: Any, key: jax.Array) -> jax.Array:
            logits = forward(net, variables["params"], batch[0], key, 0.0, of_masks)
            return loss(net, recipe, logits, *batch)

        batch = self.data.x_train[:BATCH], self.data.y_train[:BATCH]
        state = TrainState.create(
            apply_fn=net.apply,
            params=init(jax.random.key(0), net, batch[0].shape[1]),
            tx=optimizer(recipe, self.config.learning_rate),
            dropout_key=jax.random.key(1),
        )
        return Step(make_train_step(loss_fn), state, batch)


class Characters:
    """A small transformer over bytes; bits per byte of new text."""

    measure = "bits per byte of new text"

    @classmethod
    def char_config(cls, config: Any, seed: int) -> CharConfig:
        preset = CHARACTERS[config.preset]
        return dataclasses.replace(preset, seed=seed, steps=config.steps or preset.steps)

    @classmethod
    def check(cls, config: Any, ways: Ways) -> None:
        for name in ("rows", "units"):
            if getattr(config, name) is not None:
                raise CannotRun(f"--{name} is for --network mlp; leave it out with characters")
        one = cls.char_config(config, config.seed)
        char_training.check(one)
        check_units(config, ways, 4 * one.width, one.batch)

    def __init__(self, config: Any):
        self.config, one = config, self.char_config(config, config.seed)
        self.seen, self.unseen = char_training.load(one)
        self.digest = params_digest({"seen": self.seen, "unseen": self.unseen})
        epochs, steps = char_training.epochs_and_steps(one)
        self.steps = list(range(steps // epochs, steps + 1, steps // epochs))

    def train(
        self, name: str, rate: float, choice: Choice | None, tick: Tick, folder: Path | None
    ) -> list[list[float]]:
        """Return the bits per byte after each epoch, for each seed."""
        found = []
        for seed in range(self.config.seed, self.config.seed + self.config.seeds):
            _, lines = char_training.train(
                self.char_config(self.config, seed),
                0.0,
                self.seen,
                self.unseen,
                None,
                lambda steps: None,
                None if folder is None else folder / f"{name}-{seed}",
                hidden=(rate, choice) if rate else None,
            )
            found.append(char_training.summarise(lines)["epochs"]["test"])
            tick(1)
        return found

    def step(self, rate: float, choice: Choice | None) -> Step:
        """Return a step of the training."""
        one = self.char_config(self.config, 0)
        state = char_training.begin(one, 0.0, hidden=(rate, choice) if rate else None)
        text = jnp.asarray(np.asarray(self.seen[: one.batch]))
        return Step(make_train_step(char_training.loss_fn), state, {"text": text})


NETWORKS: dict[str, Any] = {"mlp": Mlp, "characters": Characters}
