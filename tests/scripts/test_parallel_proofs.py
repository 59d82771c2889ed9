"""What scripts/prove gpu says of models in shard_map: a message and a mask too many are found."""

from typing import Any

import jax
import pytest
from jax.sharding import AxisType

from scripts.proofs import parallel, report
from tests.scripts.test_attention_proofs import broken, compile_split

NAME = "tensor parallelism"
ROW: dict[str, Any] = {"what": NAME, "pass": "gradient", "none": {"all-reduce": 2}}
ROW |= {"jaxdrop": {"all-reduce": 2}, "none: temp MiB": 8.0, "jaxdrop: temp MiB": 8.1}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, []),
        ({"jaxdrop": {"all-reduce": 1, "all-gather": 1}}, ["no collective beyond those without"]),
        ({"jaxdrop: temp MiB": 9.0}, ["temp memory within 2% of no"]),
    ],
)
def test_each_claim_can_be_broken(
    changed: dict[str, Any], found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "SUBJECTS", {NAME: parallel.SUBJECTS[NAME]})
    checks = report.Checks()
    parallel.check([ROW | changed], checks)
    assert broken(checks) == [f"{NAME} over four devices: {claim} dropout" for claim in found]
    assert len(checks.rows) == 2
    assert f"| {NAME} | gradient | 2 all-reduce | 2 all-reduce | 8.1 | 8.0 |" in parallel.markdown(
        [ROW]
    )


def test_a_message_too_many_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout by the mean of all devices, beside that of the library."""
    subject = parallel.SUBJECTS[NAME]

    def planted(rate: float, key: Any, x: Any, up: Any, down: Any) -> jax.Array:
        if rate:
            up = up + jax.lax.pmean(up, parallel.AXIS)
        return subject.apply(rate, key, x, up, down)

    subjects = {NAME: subject, "planted": subject._replace(apply=planted)}
    monkeypatch.setattr(parallel, "SUBJECTS", subjects)
    monkeypatch.setattr(parallel, "WAYS", {"forward": parallel.forward})
    mesh = jax.make_mesh((4,), (parallel.AXIS,), (AxisType.Auto,), devices=jax.devices()[:4])
    checks = report.Checks()
    parallel.check(parallel.over_four(compile_split, mesh, 64), checks)
    sent = [row for row in checks.rows if "collective" in row["claim"]]
    assert [row["holds"] for row in sent] == [True, False]
    assert sent[1]["found"] == "forward 2 all-reduce; forward has 1 all-reduce more"
