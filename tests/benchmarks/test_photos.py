"""The benchmark of photographs links, reads and tells what it says. Times are not tested."""

import importlib

import pytest
import torch
from PIL import Image


def photos(module):
    return importlib.import_module(f"benchmarks.photos.{module}")


@pytest.fixture
def linked(tmp_path):
    """Seven links to three photographs."""
    for i in range(3):
        Image.new("RGB", (20, 14), (60 * i, 0, 0)).save(tmp_path / f"{i}.jpg")
    assert photos("data").repeated(tmp_path, tmp_path / "links", 7) == 3
    return photos("data").Plan(tmp_path / "links", side=8, batch=2, timed=1, rounds=1)


def test_kept_pixels_are_those_of_the_files_and_both_make_views(linked):
    data = photos("data")
    store = data.photographs(linked)
    assert store.shape == (7, 3, 16, 16)
    assert len(set(store.fetch(torch.arange(7))[0][:, 0, 0, 0].tolist())) == 3
    kept = data.packed(linked, data.photographs(linked), linked.folder.parent / "kept")
    rows = torch.tensor([4, 0, 6])
    assert torch.equal(kept.fetch(rows)[0], store.fetch(rows)[0])
    assert kept.missing.tolist() == [1, 2, 3, 5]
    threads = torch.get_num_threads()
    calls = {"files": data.Ours(linked, store), "filling": data.Filling(linked, kept)}
    rates = data.in_turn(linked, calls, 7)
    torch.set_num_threads(threads)
    assert all(len(samples) == 1 and samples[0] > 0 for samples in rates.values())
    views = next(iter(calls["files"]._batches(torch.arange(4))))
    assert views.shape == (4, 3, 8, 8)
    assert not len(kept.missing), "six rows in two samples, each epoch another order"


def test_windows_pass_over_every_photograph_once_an_epoch():
    parts = photos("data").windows(6, 3)
    assert sorted(torch.cat([next(parts), next(parts)]).tolist()) == list(range(6))


def test_the_same_recipe_and_head_are_given_to_both(linked):
    config = photos("step").config_of(linked)
    assert config.data.augment == photos("data").RECIPE
    assert (config.encoder.projector_hidden, config.method.temperature) == (2048, 0.1)


def test_goals_are_held_or_missed_by_the_ratios_of_a_round():
    page = photos("page")
    data = {
        page.FILES: [100, 10],
        page.PEER: [40, 5],
        page.FILL: [50],
        page.CACHE: [300],
        page.READ_CACHE: [900],
        page.READ_FILES: [100],
    }
    report = {"rates": {"data": data, "step": {page.STEP: [14], page.STEP_PEER: [10]}}}
    measured = [value for _, _, value in page.goals(report)]
    assert measured == pytest.approx([2.25, 1.4, 9, 6])
    assert [value for *_, value in page.goals({"rates": {}})] == [None] * 4


def test_the_page_says_what_faster_data_could_gain():
    page = photos("page")
    data = {page.FILES: [400], page.CACHE: [100], page.READ_CACHE: [1000]}
    notes = page._shares({"rates": {"data": data, "step": {page.STEP: [20]}}})
    assert "take 5% of a step" in notes[0]
    assert "views take 90% of" in notes[1]
    assert page._shares({"rates": {}}) == []
