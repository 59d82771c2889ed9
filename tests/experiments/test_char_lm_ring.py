"""The language model with its sequences split over four devices: the same loss, step for step."""

import json
from pathlib import Path
from typing import Any

import jax
import matplotlib.figure
import numpy as np
import pytest
from flax import nnx
from rich.console import Console

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments import char_lm_ring  # noqa: E402  (after the check)
from experiments._harness.command import run_command  # noqa: E402  (after the check)
from experiments._networks import char_training  # noqa: E402  (after the check)
from jaxdrop.training import make_train_step, shard_state  # noqa: E402  (after the check)

CONFIG = char_lm_ring.Config(
    steps=10, train_bytes=1700, test_bytes=400, layers=1, width=16, context=16, batch=16
)
MODEL = char_lm_ring.of_model(CONFIG)
MESH = char_lm_ring.make_mesh(CONFIG)
BATCH = {"text": np.random.default_rng(0).integers(0, 256, (16, 17), np.int32)}
RATE = 0.5


@pytest.mark.slow
def test_both_train_alike() -> None:
    """Three steps, dropout from the second on, to rounding of losses of about 8 bits in float32.

    In a planted model one layer is not told the mesh axes: its mask is another one on all devices
    but the first.
    """
    of_split = char_training.split_loss_fn(MESH)

    def split(model: Any, batch: Any, key: jax.Array) -> Any:
        planted = nnx.clone(model)
        planted.blocks[0].drop_mlp.mesh_axes = ()
        loss, metrics = of_split(model, batch, key)
        return loss, metrics | {"planted": of_split(planted, batch, key)[0]}

    found: dict[str, Any] = {}
    state = char_training.begin(MODEL, RATE, attention=("ring", RATE))
    for arm, loss_fn, begin in (
        ("whole", char_training.loss_fn, state),
        ("split", split, shard_state(state, MESH)),
    ):
        step, now = make_train_step(loss_fn), begin
        for _ in range(3):
            with jax.numpy_dtype_promotion("standard"):  # optax.adam
                now, metrics = step(now, BATCH)
            for name in metrics:
                found.setdefault(f"{arm} {name}", []).append(float(metrics[name]))
    np.testing.assert_allclose(found["split loss"], found["whole loss"], rtol=0, atol=1e-5)
    assert found["split rate"] == [0, RATE, RATE]
    apart = np.abs(np.subtract(found["split planted"], found["split loss"]))
    assert apart[0] < 1e-5 and (apart[1:] > 1e-3).all()


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (["--devices", "5"], "--devices is 5, which does not divide --context 64"),
        (["--devices", "64"], "--devices is 64, and jax sees 8; on a CPU, XLA_FLAGS=--xla_force"),
    ],
)
def test_a_setting_without_meaning_is_told_so(
    option: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("char_lm_ring", [*option, "--out", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err


def test_the_committed_result_shows_what_it_says() -> None:
    path = Path(__file__).parents[2] / "results" / "char_lm_ring" / "result.json"
    result = json.loads(path.read_text())
    console = Console(record=True, width=100)
    char_lm_ring.show(result, console)
    page = " ".join((char_lm_ring.__doc__ or "").split())
    said = " ".join(console.export_text().split()).partition("Losses of")[2]
    assert said and said in page
    assert max(result["numbers"]["apart"]) < 0.01
    for arm, label in char_lm_ring.ARMS.items():
        final = result["numbers"][arm]["final"]
        assert f"{label} {final['train']:.3f} {final['test']:.3f}" in page
    char_lm_ring.draw(result, matplotlib.figure.Figure())
