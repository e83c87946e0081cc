"""What a page shows is read from the images that it shows, and no others."""

import numpy as np
import torch
from PIL import Image

from cl_as_gnn.datasets.store import FileStore
from cl_as_gnn.report import shown as module
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.training.fit import train


def test_a_report_decodes_what_it_shows_and_shows_the_same(configure, tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    for i in range(60):
        path = tmp_path / "pictures" / "ab"[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (9, 8 + i % 3, 3), dtype=np.uint8)).save(path)
    words = ("data.name=folder", f"data.root={tmp_path / 'pictures'}", "data.image_size=8", "encoder.width=8")
    train(configure(tmp_path / "run", *words, "trainer.epochs=1", "trainer.batch_size=16", "eval.baselines=false"))
    monkeypatch.setattr(module, "_BANK", 6)
    monkeypatch.setattr(module, "_SCORED", 4)
    decoded = []
    part = FileStore._part
    monkeypatch.setattr(FileStore, "_part", lambda self, rows: (decoded.extend(rows), part(self, rows))[1])
    run = open_run(tmp_path / "run")
    few = module.shown(run)
    few.asked.pictures(torch.arange(2))
    assert len(set(decoded)) == 6 + 4
    (run.path / "broken.txt").write_text("")  # then all are read, so that positions are those of the run
    every = module.shown(run)
    assert len(set(decoded)) == 60
    for one, other in ((few.asked, every.asked), (few.bank, every.bank)):
        assert one.names == other.names
        torch.testing.assert_close(one.x, other.x, rtol=1e-5, atol=1e-6)
    assert torch.equal(few.asked.pictures(torch.arange(4)), every.asked.pictures(torch.arange(4)))
