"""Attention dropout in the language model: by jaxdrop and by flax, all else equal."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments import char_lm_attention  # noqa: E402  (after the check)
from experiments._harness.command import run_command  # noqa: E402  (after the check)
from experiments._networks.char_model import CharModel  # noqa: E402  (after the check)

SMALL = ["--steps=6", "--seeds=1", "--train-bytes=1700", "--test-bytes=400", "--layers=1",
         "--width=16", "--context=16", "--batch=16"]  # fmt: skip
TEXT = jnp.arange(16).reshape(2, 8)


def model(attention: Any) -> CharModel:
    return CharModel(
        layers=2, width=16, heads=2, context=8, rate=optax.constant_schedule(0.0),
        dtype=jnp.float32, rngs=nnx.Rngs(0), attention=attention,
    )  # fmt: skip


@pytest.mark.slow
def test_nothing_but_the_masks_of_attention_differs() -> None:
    plain, ours, flaxs = (model(a) for a in (None, ("jaxdrop", 0.5), ("flax", 0.5)))
    for other in (ours, flaxs):
        jax.tree.map(
            np.testing.assert_array_equal,
            *(nnx.as_pure(nnx.state(m, nnx.Param)) for m in (other, plain)),
        )
    trained = [m(TEXT) for m in (plain, ours, flaxs)]
    assert all((a != b).any() for a, b in zip(trained, trained[1:] + trained[:1], strict=True))
    for m in (plain, ours, flaxs):
        m.eval()
        np.testing.assert_allclose(m(TEXT), plain(TEXT), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["jaxdrop", "flax"])
def test_each_example_and_head_has_a_mask_of_its_own(library: Any) -> None:
    n = 8
    attention = model((library, 0.5)).blocks[1].attention
    q, identity = jnp.zeros((3, n, 2, n)), jnp.eye(n)[:, None]
    weights = attention(q, q, jnp.broadcast_to(identity, q.shape)).transpose(0, 2, 1, 3)
    causal = np.tril(np.ones((n, n), bool))
    kept = np.asarray(weights)[:, :, causal] > 0
    # Six masks of 36 weights: two equal ones have a probability of 15 / 2**36.
    assert len({mask.tobytes() for mask in kept.reshape(6, -1)}) == 6
    assert not np.asarray(weights)[:, :, ~causal].any()


@pytest.mark.slow
def test_a_run_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with jax.numpy_dtype_promotion("standard"):  # optax.adam
        assert run_command("char_lm_attention", [*SMALL, "--out", str(tmp_path)]) == 0
    assert "flax's" in capsys.readouterr().out
    result = json.loads((tmp_path / "result.json").read_text())
    ends = {arm: runs["0"]["final"]["test"] for arm, runs in result["numbers"].items()}
    assert list(ends) == ["none", "jaxdrop", "flax"] and len(set(ends.values())) == 3
    assert len(set(result["digests"].values())) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure.png", "result.json"]


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (["--seeds", "0"], "--seeds is 0, expected a whole number of at least 1"),
        (["--rate", "1"], "--rate is 1.0, expected a number from 0 to below 1"),
        (["--seed", str(2**31 - 1), "--seeds", "2"], "--seed is 2147483648"),
    ],
)
def test_a_setting_without_meaning_is_told_so(
    option: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("char_lm_attention", [*SMALL, *option, "--out", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out" / "unfinished").exists()


def test_the_committed_result_shows_what_it_says() -> None:
    path = Path(__file__).parents[2] / "results" / "char_lm_attention" / "result.json"
    numbers = json.loads(path.read_text())["numbers"]
    for arm, runs in numbers.items():
        for seed, curves in runs.items():
            losses = f"{curves['final']['train']:.2f}   {curves['final']['test']:.2f}"
            best = f"{curves['best']['test']:.2f} at step {curves['best']['step']}"
            row = f"{char_lm_attention.LABELS[arm]:<10}   {seed}   {losses}   {best}"
            assert row in (char_lm_attention.__doc__ or "")
