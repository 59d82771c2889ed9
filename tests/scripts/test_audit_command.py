"""scripts/audit prints the audit of a model; docs/audit.md shows what it prints."""

from pathlib import Path
from typing import Any

import pytest

from scripts.audit import main

ROOT = Path(__file__).parents[2]
MINE = """
from flax import nnx
import jax.numpy as jnp
import flax.linen as nn

class Net(nn.Module):
    on: bool = True

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dropout(0.5, deterministic=not (train or self.on))(nn.Dense(3)(x))

def leaves_it_on():
    return Net(), (jnp.ones((4, 3)),)

def sound():
    return Net(on=False), (jnp.ones((4, 3)),), {"num_steps": 4}

def alone():
    return Net()

def no_model():
    return len, (1,)

def no_tuple():
    return Net(), jnp.ones((4, 3))
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_audited.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        "experiments.quickstart.audited:quickstart",
        pytest.param("experiments._networks.audits:char_lm", marks=pytest.mark.slow),
    ],
)
def test_the_page_shows_what_it_prints(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 0
    printed = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
    page = (ROOT / "docs" / "audit.md").read_text()
    assert f"scripts/audit {command}\n```\n\n```text\n{printed}\n```" in page


def test_the_exit_code_says_whether_something_is_wrong(
    mine: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mine_audited:sound"]) == 0
    assert main(["mine_audited:leaves_it_on"]) == 1
    assert "1. Dropout_0: on in test mode." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "got no arguments; type scripts/audit MODULE:FACTORY"),
        (["--help"], "type scripts/audit MODULE:FACTORY"),
        (["mine_audited:sound", "more"], "got mine_audited:sound more; type"),
        (["mine_audited"], "got 'mine_audited', which is not of the form MODULE:FACTORY"),
        (["not_there:sound"], "'not_there' cannot be imported from"),
        (["mine_audited:none"], "it has leaves_it_on, sound, alone, no_model, no_tuple"),
        (["mine_audited:alone"], "mine_audited:alone returned Net, expected (model, inputs)"),
        (["mine_audited:no_model"], "returned a builtin_function_or_method as its model"),
        (["mine_audited:no_tuple"], "returned inputs of type ArrayImpl and options of type dict"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(
    mine: None, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    said: Any = capsys.readouterr().err
    assert stopped.value.code == 2 and sentence in said and said.count("\n") == 1
