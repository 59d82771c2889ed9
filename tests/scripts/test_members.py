"""The records of the members: each in its file, complete, and what the page says."""

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import jaxdrop
import jaxdrop.linen
import jaxdrop.nnx
from scripts import family_page, gallery_figure, members
from scripts.members import RECORDS
from scripts.members._case import Normal, TwoPoint
from scripts.members._record import Record
from scripts.members._timed import TIMED_SHAPE
from tests.flax.layers import NO_RECORD

FILES = Path(members.__file__).parent.glob("[!_]*.py")
ROOT = Path(__file__).parents[2]
# What makes masks, is learned with a member, or stands beside dropout in training.
NO_MEMBERS = {"keep_mask", "random_bits", "concrete_regularizer"}
NO_MEMBERS |= {"max_norm", "r_drop_loss", "symmetric_kl"}
# Drop inside of a computation.
NO_MEMBERS |= {"dot_product_attention", "ring_attention", "attention_keep_mask"}
NO_MEMBERS |= {"default_mesh_axes"}  # drops nothing itself
NO_MEMBERS |= {"kept_units"}  # chooses what others leave out
NO_MEMBERS |= {"take_units", "unit_dropout_mlp", "unit_dropout_mlp_kept"}  # drop between products
NO_MEMBERS |= {"unit_dropout_conv"}


def layers(package: Any, base: type) -> set[type]:
    return {c for c in vars(package).values() if inspect.isclass(c) and issubclass(c, base)}


def test_every_record_is_in_the_file_of_its_name() -> None:
    assert {path.stem for path in FILES} == {record.name for record in RECORDS}
    for record in RECORDS:
        assert record.function.__module__ == f"jaxdrop._functional.{record.name}"


def test_every_public_function_is_in_one_record() -> None:
    public = {name for name, f in vars(jaxdrop).items() if inspect.isfunction(f) and name[0] != "_"}
    named = [name for record in RECORDS for name in record.functions]
    assert set(named) == public - NO_MEMBERS and NO_MEMBERS < public
    assert len(named) == len(set(named))


def test_every_public_layer_is_in_a_record() -> None:
    recorded = [layer for record in RECORDS for layer in record.layers]
    for package, base, known in (
        (jaxdrop.linen, nn.Module, {layer.linen_class for layer in recorded}),
        (jaxdrop.nnx, nnx.Module, {layer.nnx_class for layer in recorded}),
    ):
        others = {getattr(package, name) for name in NO_RECORD}
        assert known | others == layers(package, base)


def test_no_two_cases_layers_or_times_have_one_name() -> None:
    for names in (
        [case.id for record in RECORDS for case in record.cases],
        [layer.id for record in RECORDS for layer in record.layers],
        [timed.name for record in RECORDS for timed in record.timed],
    ):
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_the_page_does_not_contradict_the_law(record: Record) -> None:
    """What a record says of mean and variance follows from the law of each case that has one."""
    for case in record.cases:
        assert record.mean_preserved.startswith("yes") == case.unbiased
        if isinstance(case.law, TwoPoint) and case.law.kept(1.0, 0.5) == 2:
            assert record.variance_preserved == "no"
        if isinstance(case.law, Normal):
            assert record.mean_preserved == "yes" and record.variance_preserved == "no"


def test_a_record_that_follows_nobody_is_refused() -> None:
    lost = dataclasses.replace(RECORDS[1], after="a_member_that_is_not_there")
    with pytest.raises(ValueError, match="^got after='a_member_that_is_not_there' in section 'Act"):
        members.in_order([RECORDS[0], lost])
    with pytest.raises(ValueError, match="expected a member of that section, one of Activations"):
        members.in_order([dataclasses.replace(RECORDS[0], section="Elsewhere")])
    assert members.in_order(RECORDS[::-1]) == RECORDS


def test_the_tables_are_what_the_records_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert gallery_figure.main(["--check"]) == 0, "type: scripts/gallery --docs"
    assert "family.md is up to date" in capsys.readouterr().out


def test_a_table_that_was_changed_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / "family.md"
    whole = family_page.PAGE.read_text(encoding="utf-8")
    changed.write_text(whole.replace("| word dropout |", "| words dropped |"), encoding="utf-8")
    monkeypatch.setattr(family_page, "PAGE", changed)
    assert gallery_figure.main(["--check"]) == 1
    assert "not what scripts/members says" in capsys.readouterr().out
    family_page.write()
    assert changed.read_text(encoding="utf-8") == whole
    with pytest.raises(ValueError, match="lacks the markers"):
        family_page.with_tables("no markers")


@pytest.mark.slow
@pytest.mark.parametrize(
    "timed", [timed for record in RECORDS for timed in record.timed], ids=lambda timed: timed.name
)
def test_what_the_benchmark_times_can_be_called(timed: Any) -> None:
    """As scripts/benchmarks/family.py calls it, without computing."""
    key = jax.random.key(0)
    x = jax.ShapeDtypeStruct((512, 512) if timed.kind == "layer" else TIMED_SHAPE, jnp.float32)
    more = {"layer": [x], "learned": [jax.ShapeDtypeStruct(x.shape[-1:], jnp.float32)]}
    y = jax.eval_shape(timed.apply, key, x, *more.get(timed.kind, []))
    assert y.shape == x.shape and (timed.start is None) == (timed.kind != "learned")
