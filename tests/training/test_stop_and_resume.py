"""Stops and refusals: signals save; what does not fit is refused, and left as it was."""

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

import jaxdrop.training as jt
from jaxdrop.training._stop_signals import on_stop_signals
from tests.training import small_run as small
from tests.training.saved_run import refused, restore
from tests.training.test_fit import kept, stop_at

pytestmark = pytest.mark.slow


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A background shell starts its programs with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_says_where(
    number: int, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    tick = stop_at(5, number)
    with pytest.raises(SystemExit) as stopped:
        small.run(folder=tmp_path, tick=tick, save_every=1000)
    assert stopped.value.code == code
    step = jt.saved_step(tmp_path)
    assert kept(tmp_path) == [step] and isinstance(stopped.value, jt.Stopped)
    assert stopped.value.step == step and 5 <= step < 12
    told = f"Stopped after step {step} of 12, which is saved in {tmp_path}/checkpoints. The same"
    assert told in capsys.readouterr().err
    assert signal.getsignal(number) is before
    state, lines = small.run(folder=tmp_path)
    assert f"Resuming from step {step} of 12 in {tmp_path}." in capsys.readouterr().err
    whole, expected = small.run()
    assert small.same(state, whole) and lines == expected


@pytest.mark.usefixtures("interruptible")
def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    def tick(n: int) -> None:
        if n:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        small.run(folder=tmp_path, tick=tick)


@pytest.mark.usefixtures("interruptible")
def test_an_ignored_signal_stays_ignored_and_the_other_one_is_handled() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    before, came = signal.getsignal(signal.SIGTERM), list[int]()
    restore = on_stop_signals(came.append)
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    restore()
    assert came == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is before


def test_fit_runs_in_another_thread(tmp_path: Path) -> None:
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(small.run(folder=tmp_path)))
    thread.start()
    thread.join()
    assert small.same(done[0][0], small.run()[0])


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"seed": 1}, r"is a different one \(seed: 0 there, 1 here\); nothing was changed"),
        ({"batch_size": 8}, r"batch_size: 16 there, 8 here"),
        ({"config": {"rate": 0.1}}, r"config.rate: 0.5 there, 0.1 here"),
        ({"config": {}}, r"config.rate: 0.5 there, absent here"),
        ({"data": {**small.DATA, "x": small.X * 2}}, r"data.\['x'\]: float32\[70, 6\] crc"),
        ({"data": {**small.DATA, "z": small.X}}, r"data.\['z'\]: absent there"),
    ],
)
def test_another_run_is_refused(folder: Path, options: dict[str, Any], sentence: str) -> None:
    refused(folder, sentence, **options)


def test_another_key_or_model_is_refused(folder: Path) -> None:
    key = r"dropout_key: threefry2x32 \[0, 1\] there, threefry2x32 \[0, 2\] here"
    refused(folder, key, state=small.linen_state(jax.random.key(2)))
    state = small.linen_state()
    tx = optax.chain(optax.scale_by_schedule(lambda count: 0.1), optax.scale(-1.0))
    other = state.replace(tx=tx, opt_state=tx.init(state.params))
    found = refused(folder, "step 4 in .* is of another model or optimizer", state=other)
    assert "opt_state/0/count: absent there, int32[] here" in found
    wider = jax.tree.map(lambda a: np.zeros((*a.shape[:-1], 9), a.dtype) if a.ndim else a, state)
    with pytest.raises(jt.CheckpointError, match=r"float32\[8\] there, float32\[9\] here"):
        restore(folder, wider)


def test_fewer_epochs_than_were_done_are_refused(tmp_path: Path) -> None:
    state, _ = small.run(folder=tmp_path, epochs=2)
    sentence = r"has done step 8, and epochs=1 end at step 4 \(4 in an epoch\).* Give epochs=2 or"
    refused(tmp_path, sentence, config=None, epochs=1)
    assert small.same(small.run(folder=tmp_path, epochs=2)[0], state)
    with pytest.raises(ValueError, match="got a state that has done step 8, and epochs=1 end at"):
        small.run(state=state, epochs=1)


def test_a_config_that_no_later_call_could_compare_is_refused(tmp_path: Path) -> None:
    for config, sentence in (
        ({"lr": float("nan")}, r"got config\['lr'\]=nan, which JSON cannot hold"),
        ({"a": [1, {"b": np.float32(np.inf)}]}, r"got config\['a'\]\[1\]\['b'\]=inf"),
        (
            {"f": len},
            r"got config\['f'\] of type builtin_function_or_method, expected a JSON value",
        ),
        ({1: 2}, r"got the name 1 in config, expected text"),
        ([1], r"got config=\[1\] of type list, expected a dict"),
    ):
        with pytest.raises((ValueError, TypeError), match=sentence):
            small.run(folder=tmp_path / "run", config=config)
    assert not (tmp_path / "run").exists()


def test_numbers_of_numpy_and_jax_in_a_config_are_those_of_python(tmp_path: Path) -> None:
    config = {"a": np.float32(0.5), "b": jax.numpy.arange(2), "c": (1, None), "d": np.bool_(True)}
    small.run(folder=tmp_path, epochs=1, config=config)
    small.run(folder=tmp_path, epochs=1, config={"a": 0.5, "b": [0, 1], "c": [1, None], "d": True})


def test_nan_is_null_in_the_lines(tmp_path: Path) -> None:
    def loss_fn(variables: Any, batch: Any, key: jax.Array) -> Any:
        return small.linen_loss(variables, batch, key), {"odd": jax.numpy.float32(np.nan)}

    small.run(folder=tmp_path, state=small.linen_state(), epochs=1)
    lines = jt.fit(
        small.linen_state(), loss_fn, small.DATA, seed=0, epochs=1, batch_size=16,
        folder=tmp_path / "nan", log_every=2,
    )[1]  # fmt: skip
    assert [line["odd"] for line in lines] == [None, None]
    text = (tmp_path / "nan" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in text] == lines
