"""The quickstart: its files, its claims in small, the same bits again, and its refusals."""

import copy
import gzip
import hashlib
import json
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console
from scipy import stats

from experiments import quickstart
from experiments._commands import reproduce
from experiments._data import idx, image_sets, images
from experiments._harness import result
from experiments._harness.command import run_command
from experiments._networks.feedforward import Net
from experiments.quickstart import figure
from experiments.quickstart.robustness import removal_gates
from experiments.quickstart.training import train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SMALL = ["--data", "digits", "--hidden", "24", "--epochs", "2", "--seeds", "2", "--draws", "2"]
FALSE_ALARM = 1e-9


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run, made through the command."""
    folder = tmp_path_factory.mktemp("quickstart") / "new" / "folder"
    assert run_command("quickstart", [*SMALL, "--out", str(folder)]) == 0
    return folder


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


def test_the_files_are_there_and_nothing_else(stored: Path) -> None:
    assert sorted(p.name for p in stored.iterdir()) == ["figure.png", "result.json"]
    assert (stored / "figure.png").read_bytes().startswith(b"\x89PNG")
    result = read(stored)
    assert result["experiment"] == "quickstart"
    assert result["config"]["epochs"] == 2 and result["config"]["seed"] == 0
    for name in ("jax", "jaxdrop", "python", "device", "platform", "cores", "commit"):
        assert name in result["environment"]
    assert set(result["numbers"]) == set(quickstart.ARMS)
    for name, arm in result["numbers"].items():
        assert np.shape(arm["history"]["test_accuracy"]) == (2, 2)
        assert np.shape(arm["removal"]["seeds"]) == (2, 10)
        assert arm["removal"]["mean"][0] == pytest.approx(arm["final"]["test_accuracy"]["mean"])
        assert arm["noise"]["mean"][0] == pytest.approx(arm["final"]["test_accuracy"]["mean"])
        assert len(set(result["digests"][name])) == 2
    assert len({d for name in quickstart.ARMS for d in result["digests"][name]}) == 6


def test_a_training_step_removes_the_share_it_was_asked_to(stored: Path) -> None:
    for arm in read(stored)["numbers"].values():
        for layer in arm["zeros"]:
            check_share(layer["removed_of_active"], layer["active"], layer["rate"])
            check_share(layer["zero_gradient_of_active"], layer["active"], layer["rate"])


def test_the_check_of_shares_catches_a_wrong_rate(stored: Path) -> None:
    layer = read(stored)["numbers"]["dropout"]["zeros"][1]
    with pytest.raises(AssertionError):
        check_share(layer["removed_of_active"], layer["active"], layer["rate"] - 0.25)


def check_share(share: float, n: int, rate: float) -> None:
    """Two-sided binomial test; rate 0 allows none at all."""
    count = round(share * n)
    assert stats.binomtest(count, n, rate).pvalue > FALSE_ALARM


def test_reproduce_says_identical_then_what_differs(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce.main([str(stored / "result.json")]) == 0
    assert "Identical: all" in capsys.readouterr().out
    old = read(stored)
    new = copy.deepcopy(old)
    new["numbers"]["none"]["removal"]["mean"][3] += 1e-16 + np.spacing(0.5)
    new["digests"]["dropout"][1] = "0" * 64
    new["environment"]["jax"] = "0.0.1"
    del new["numbers"]["dropout"]["noise"]["std"]
    console = Console(width=120)
    assert reproduce.report(old, new, console) == 1
    out = capsys.readouterr().out
    assert f"Different jax: {old['environment']['jax']} then, 0.0.1 now." in out
    for name in ("numbers.none.removal.mean.3", "digests.dropout.1", "noise.std.0", "(absent)"):
        assert name in out


def no_training(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("the folder was to be checked before training")


def test_a_folder_that_cannot_be_written_is_told_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quickstart, "run", no_training)
    (tmp_path / "file").write_text("")
    assert run_command("quickstart", [*SMALL, "--out", str(tmp_path / "file" / "x")]) == 2
    assert "cannot be written to (Not a directory); nothing was run" in capsys.readouterr().err
    # root may write anywhere, so a read-only folder is acted out
    monkeypatch.setattr(result.tempfile, "TemporaryFile", deny)
    assert run_command("quickstart", [*SMALL, "--out", str(tmp_path / "readonly")]) == 2
    assert "cannot be written to (Permission denied)" in capsys.readouterr().err


def deny(**kwargs: Any) -> Any:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    "option, sentence",
    [
        (["--epochs", "0"], "--epochs is 0, expected a whole number of at least 1"),
        (["--seed", "-1"], "--seed is -1"),
        (["--hidden", "0"], "--hidden is (0,)"),
        (["--learning-rate", "nan"], "--learning-rate is nan, expected a number above 0"),
        (["--batch", "5000"], "--batch is 5000, and there are 143"),
        (["--data", "mnist", "--data-dir", "/"], "has no train-images-idx3-ubyte (raw or .gz)"),
        (["--data", "mnist", "--data-dir", "/nowhere"], "type: scripts/run fetch mnist --data-dir"),
    ],
)
def test_a_setting_without_meaning_is_told_so(
    option: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("quickstart", [*SMALL, *option, "--out", str(tmp_path)]) == 2
    assert sentence in capsys.readouterr().err


def test_seeds_can_be_vmapped() -> None:
    data: Any = images.load("digits")
    model = Net((16,), input_rate=0.2, hidden_rate=0.5)

    def one(key: jax.Array) -> Any:
        return train(model, data, key, epochs=2, batch=50, learning_rate=0.02, momentum=0.9)

    together = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 2))
    alone = jax.jit(one)(jax.random.split(jax.random.key(0), 2)[1])
    # The masks are the same bits, hence equal counts; a batched product sums in another order.
    np.testing.assert_array_equal(together[1].zeros.removed[1, 0], alone[1].zeros.removed[0])
    for a, b in zip(jax.tree.leaves(together[0]), jax.tree.leaves(alone[0]), strict=True):
        np.testing.assert_allclose(a[1], b, atol=1e-4)


@pytest.mark.parametrize("share, removed", [(0.0, [0, 0]), (0.5, [10, 4]), (0.9, [18, 6])])
def test_removed_units_are_counted_and_the_mean_is_kept(share: float, removed: list[int]) -> None:
    gates = removal_gates((20, 7), np.float32(share), jax.random.key(1))
    assert [int((gate == 0).sum()) for gate in gates] == removed
    np.testing.assert_allclose([gate.mean() for gate in gates], 1, rtol=1e-6)


def test_the_split_is_fixed_and_balanced() -> None:
    data = images.load("mnist5k")
    assert data.x_train.shape == (4000, 784) and data.x_test.shape == (1000, 784)
    assert set(np.bincount(data.y_train)) == {400} and set(np.bincount(data.y_test)) == {100}
    assert data.x_train.min() == 0 and data.x_train.max() == 1
    assert images.data_digest(data) == read(ROOT / "results/quickstart")["digests"]["data"]


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read_from_a_folder_and_verified(
    packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in image_sets.MNIST.files:
        n = 6 if "train" in name else 2
        if "images" in name:
            raw = struct.pack(">iiii", 2051, n, 28, 28) + bytes(range(98)) * 8 * n
        else:
            raw = struct.pack(">ii", 2049, n) + bytes(range(n))
        content = idx.Content(hashlib.md5(raw).hexdigest(), len(raw))
        monkeypatch.setitem(image_sets.MNIST.files, name, content)
        if packed:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(raw))
        else:
            (tmp_path / name.replace("-idx", ".idx")).write_bytes(raw)
    data = images.load("mnist", str(tmp_path))
    assert data.x_train.shape == (6, 784) and data.y_test.tolist() == [0, 1]
    assert data.x_train[0, 97] == np.float32(97) / np.float32(255)
    victim = next(tmp_path.iterdir())
    victim.write_bytes(victim.read_bytes()[:-9])
    with pytest.raises(result.CannotRun, match="cannot be read" if packed else "is damaged"):
        images.load("mnist", str(tmp_path))


def test_a_figure_that_cannot_be_drawn_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    path.write_text("old")
    with pytest.raises(KeyError), result.whole_file(path) as partial:
        partial.write_text("half")
        figure.draw({}, Figure())
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]


def test_ctrl_c_is_a_sentence_and_saves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("earlier")
    many = ["--data", "digits", "--hidden", "8", "--epochs", "20", "--seeds", "100000"]
    command = [sys.executable, "-u", "-c", INTERRUPTIBLE, *many, "--out", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # the first epoch is done
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, err.decode()
    assert b"Stopped. Nothing of this run was saved" in err and b"Traceback" not in err
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]
    assert (tmp_path / "result.json").read_text() == "earlier"


# Says when the first tick comes, so that the test need not guess how long compiling takes.
INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell has it ignored
from experiments import quickstart
from experiments._harness.command import run_command
run = quickstart.run
def told(config, tick):
    first = iter(["training"])
    return run(config, lambda: (tick(), [print(word) for word in first]))
quickstart.run = told
sys.exit(run_command("quickstart", sys.argv[1:]))
"""


# Python gets to a signal when the compiler returns. By then the program runs, here for hours.
BUSY = """
import os, runpy, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
import jax
import jax.numpy as jnp
from experiments import quickstart

def run(config, tick):
    def hours(x):
        for i in range(60):
            x = jnp.sin(x @ x + i)
        threading.Timer(delay, os.kill, (os.getpid(), number)).start()
        return jax.lax.fori_loop(0, 2**30, lambda i, x: jnp.sin(x @ x), x)
    print("kept until now")
    jax.jit(hours)(jnp.ones((300, 300)))

number, delay = int(sys.argv[1]), float(sys.argv[2])
sys.argv[1:] = ["quickstart", "--data=digits", "--out", sys.argv[3]]
quickstart.run = run
runpy.run_module("experiments", run_name="__main__")
"""


def test_a_signal_while_jax_compiles_is_a_sentence_and_no_crash(tmp_path: Path) -> None:
    calls = []
    for number, code, delay in ((2, 130, 0.1), (15, 143, 0.1), (2, 130, 0.0)):
        command = [
            sys.executable,
            "-c",
            BUSY,
            str(number),
            str(delay),
            str(tmp_path / f"{number}-{delay}"),
        ]
        process = subprocess.Popen(
            command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        calls.append((code, process))
    try:
        ends = [(code, *process.communicate(timeout=120), process) for code, process in calls]
    finally:
        for _, process in calls:
            process.kill()
    for code, out, err, process in ends:
        assert process.returncode == code, (process.returncode, err)
        assert "Stopped. Nothing of this run was saved" in err and "Traceback" not in err
        assert out == "kept until now\n"


def test_the_committed_result_shows_what_the_readme_says() -> None:
    numbers = read(ROOT / "results/quickstart")["numbers"]
    none = numbers["none"]
    half = none["removal"]["share"].index(0.5)
    for name in ("dropout", "dropout_at_test"):
        arm = numbers[name]
        for seed, gap in enumerate(arm["final"]["gap"]["seeds"]):
            assert gap < none["final"]["gap"]["seeds"][seed]
            assert arm["removal"]["seeds"][seed][half] > none["removal"]["seeds"][seed][half]
