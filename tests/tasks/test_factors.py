"""Runs on factor data."""

import pytest

from cl_as_gnn.errors import ConfigError
from cl_as_gnn.training.fit import train

ERRORS = ("digit_error", "background_error", "position_error")


def test_a_run_is_scored_by_its_factors_and_goes_on(tmp_path, configure, write_classes):
    words = ("data.name=factors", f"data.root={write_classes(tmp_path / 'images')}", "data.frames=400")
    words = (*words, "data.share=[position]", "method.name=simclr", "trainer.batch_size=100", "eval.baselines=false")
    metrics = train(configure(tmp_path / "run", *words, "trainer.epochs=2"))
    assert all(key in metrics for key in ERRORS)
    assert 0 < metrics["position_error"] < 8
    assert metrics["digit_error"] == pytest.approx(100 - metrics["linear_top1"])
    assert metrics["i_nce"] < metrics["i_nce_ceiling"]
    train(configure(tmp_path / "part", *words, "trainer.epochs=2", "eval.split=validation"))
    with pytest.raises(ConfigError, match="scored on its own frames"):
        train(configure(tmp_path / "other", *words, f"eval.root={tmp_path / 'images'}"))


def test_a_stopped_run_goes_on_alike(tmp_path, configure, write_classes, resumes_alike):
    words = ("data.name=factors", f"data.root={write_classes(tmp_path / 'images')}", "data.frames=200")
    whole, resumed = resumes_alike(tmp_path, lambda path: configure(path, *words, "method.name=gcn"))
    assert all(whole[key] == resumed[key] for key in (*ERRORS, "i_nce", "loss"))
