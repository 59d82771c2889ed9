"""result.json and run.json that are damaged in any way: a sentence, for every experiment."""

import dataclasses
import importlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tyro", reason="experiments need the extra jaxdrop[experiments]")
from experiments.__main__ import find_experiments  # noqa: E402
from experiments._commands import reproduce  # noqa: E402  (after the check)
from experiments._harness import unfinished  # noqa: E402  (after the check)
from experiments._harness.result import CannotRun, read_result, restore_config  # noqa: E402

MODULES = {name: importlib.import_module(f"experiments.{name}") for name in find_experiments()}
WHOLE = json.dumps(
    {
        "experiment": "quickstart",
        "config": dataclasses.asdict(MODULES["quickstart"].Config()),
        "environment": {"jax": "1.0"},
        "numbers": {"a": [1.0, None]},
        "digests": {"b": "c"},
    }
)


def without(part: str) -> str:
    return json.dumps({k: v for k, v in json.loads(WHOLE).items() if k != part})


DAMAGED = [
    ("", "it is not JSON"),
    (WHOLE[:-9], "it is not JSON"),
    (WHOLE.replace("1.0, null", "NaN"), "NaN is no number of JSON"),
    (WHOLE.replace("1.0, null", "1e999"), "1e999 is no finite number"),
    (WHOLE.replace("1.0, null", "[" * 200 + "]" * 200), "nested deeper than 100 levels"),
    ("[" * 100_000, "nested deeper than 100 levels"),
    ("9" * 5000, "it is not JSON"),
    (WHOLE.replace("quickstart", "\udcff"), "is not UTF-8"),
    ("null", "it is null, expected an object"),
    ("[1, 2]", "it is [1, 2], expected an object"),
    *((without(p), f"{p} is missing") for p in json.loads(WHOLE)),
    (WHOLE.replace('"quickstart"', '["x"]'), 'experiment is ["x"], expected text'),
    (WHOLE.replace("quickstart", "quickstop"), "experiment 'quickstop', which is not one that can"),
    (WHOLE.replace("quickstart", "reproduce"), "experiment 'reproduce', which is not one that can"),
    (WHOLE.replace('{"jax": "1.0"}', "3"), "environment is 3, expected an object"),
    (WHOLE.replace('{"a": [1.0, null]}', "[]"), "numbers is [], expected an object"),
    (WHOLE.replace('{"b": "c"}', "true"), "digests is true, expected an object"),
]


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is trained, and no data are loaded."""
    for module in MODULES.values():
        monkeypatch.setattr(module, "run", lambda *args: {"numbers": {}, "digests": {}})
        monkeypatch.setattr(module, "ticks", lambda config: 1)
    for module in (reproduce, unfinished):
        monkeypatch.setattr(module, "environment", dict)  # it asks git
    monkeypatch.setattr(MODULES["uci"], "sets", lambda config: [])
    monkeypatch.setattr(MODULES["uncertainty"], "load", lambda name, folder: None)


@pytest.mark.parametrize("text, sentence", DAMAGED, ids=[sentence for _, sentence in DAMAGED])
def test_a_damaged_result_is_told_so(text: str, sentence: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert reproduce.main([str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line and str(path) in line


def test_a_result_that_is_not_there_is_told_so(tmp_path: Path, capsys: Any) -> None:
    assert reproduce.main([str(tmp_path / "none.json")]) == 2
    assert "cannot be read (No such file or directory)" in capsys.readouterr().err
    assert reproduce.main([str(tmp_path)]) == 2
    assert "cannot be read (Is a directory)" in capsys.readouterr().err


# What a field may hold that is not what the experiment wrote.
ODD: list[Any] = [
    None, True, "", "text", "\0", -1, 0, 1.5, -0.5, 2**31, 2**64, 10**400, 1e308, [], [[]], [None],
    [-1], [0.5, "x"], [10**400], {}, {"a": 1},
]  # fmt: skip


def config_of(kind: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a field and the config with something odd in it."""
    whole = json.loads(json.dumps(dataclasses.asdict(kind())))
    for name in whole:
        yield name, {k: v for k, v in whole.items() if k != name}
        for odd in ODD:
            if odd != whole[name] or type(odd) is bool:
                yield name, whole | {name: odd}
    yield "more", whole | {"more": 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_a_config_that_is_not_one_is_told_so(name: str) -> None:
    kind, told = MODULES[name].Config, 0
    for field, config in config_of(kind):
        try:
            MODULES[name].check(restore_config(kind, config, Path("result.json")))
        except CannotRun as error:
            option = f"--{field.replace('_', '-')} "
            assert f"json is damaged: config.{field}" in str(error) or option in str(error)
            told += 1
        else:
            found = config[field]
            number = kind.__dataclass_fields__[field].type is float
            assert found is None or type(found) is str or (number and found >= 0), (field, found)
    assert told > 10 * len(dataclasses.fields(kind))


@pytest.mark.parametrize("name", MODULES)
def test_every_stored_result_can_be_run_again(name: str) -> None:
    path = Path(__file__).parents[2] / "results" / name / "result.json"
    config = restore_config(MODULES[name].Config, read_result(path)["config"], path)
    MODULES[name].check(config)


@pytest.mark.parametrize("name", ["char_lm", "uci"])
def test_run_json_is_read_in_the_same_way(name: str, tmp_path: Path) -> None:
    config = MODULES[name].Config()
    unfinished.open_unfinished(tmp_path, name, config)
    path = tmp_path / "unfinished" / "run.json"
    assert not unfinished.open_unfinished(tmp_path, name, config).new
    whole = json.loads(path.read_text())

    def refused(sentence: str, **changes: Any) -> None:
        path.write_text(json.dumps(whole | changes))
        before = path.read_bytes()
        with pytest.raises(CannotRun, match=sentence):
            unfinished.open_unfinished(tmp_path, name, config)
        assert path.read_bytes() == before

    for part in whole:
        for odd in (*ODD, math.nan):
            if not (isinstance(odd, dict) and part == "environment"):
                refused("choose another --out", **{part: odd})
    for field, other in config_of(type(config)):
        refused(f"config.{field}.* is |--{field.replace('_', '-')} ", config=other)
