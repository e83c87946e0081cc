"""``clgnn views`` trains a generator, and runs on its colors keep it."""

import shutil

import pytest
import torch

from cl_as_gnn.config import load_config
from cl_as_gnn.config.views import load_views
from cl_as_gnn.datasets.view_generator import load_generator
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.runs.folder import open_run
from cl_as_gnn.runs.load import export_features
from cl_as_gnn.tasks import load_task
from cl_as_gnn.training.fit import continue_run, train
from cl_as_gnn.training.view_generator import train_generator

TINY = ["data.image_size=8", "encoder.width=8", "encoder.projector_hidden=16", "encoder.projector_dim=8"]
SHORT = ["trainer.batch_size=16", "warmup=2", "steps=4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_classes):
    return write_classes(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def trained(folder):
    """A generator from images whose channels are noise but for the class."""
    return train_generator(*load_views(None, [f"data.root={folder}", *TINY, *SHORT, "lr=0.02"]))


def small(folder, path, *more):
    words = ["trainer.epochs=3", "trainer.batch_size=30", "eval.baselines=false", "eval.draws=1", f"run_dir={path}"]
    return load_config(None, [f"data.root={folder}", *TINY, "method.name=cmc", *words, *more])


def test_the_generator_learns_and_the_seed_decides(folder, trained):
    start = torch.rand(4, 3, 8, 8)
    assert (trained.generator(start) - start).abs().max() > 0.01
    torch.testing.assert_close(trained.generator.inverse(trained.generator(start)), start, atol=1e-5, rtol=0)
    assert trained.about["mode"] == "semi"
    again = train_generator(*load_views(None, [f"data.root={folder}", *TINY, *SHORT, "lr=0.02"]))
    other = train_generator(*load_views(None, [f"data.root={folder}", *TINY, *SHORT, "lr=0.02", "seed=1"]))
    assert torch.equal(again.generator(start), trained.generator(start))
    assert not torch.equal(other.generator(start), trained.generator(start))


def test_it_lowers_what_the_groups_share(tmp_path):
    """Channels that are copies share all, until the generator adds to one what it finds in the others."""
    from PIL import Image

    pixels = torch.randint(256, (80, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for i, image in enumerate(pixels):
        (tmp_path / f"{i % 2}").mkdir(exist_ok=True)
        Image.fromarray(image.unsqueeze(2).expand(-1, -1, 3).numpy()).save(tmp_path / f"{i % 2}" / f"{i}.png")
    words = [f"data.root={tmp_path}", *TINY, "trainer.batch_size=32", "mode=unsupervised", "data.augment.flip=0"]
    crops = ["data.augment.crop_scale=[1, 1]", "data.augment.crop_ratio=[1, 1]", "optim.lr=0.01", "lr=0.02"]
    found = train_generator(*load_views(None, [*words, *crops, "warmup=25", "steps=30"]))
    assert found.before > 1
    assert found.after < found.before - 0.5


def test_a_resumed_run_keeps_its_generator(folder, trained, tmp_path, resumes_alike):
    path = tmp_path / "g.safetensors"
    trained.generator.save(path, trained.about)
    whole, _ = resumes_alike(tmp_path, lambda run: small(folder, run, f"data.generator={path}"))
    plain = train(small(folder, tmp_path / "plain"))
    assert plain["config_digest"] != whole["config_digest"]
    assert plain["knn_top1"] != whole["knn_top1"] or plain["loss"] != whole["loss"]
    run, copy = tmp_path / "whole", tmp_path / "whole" / "generator.safetensors"
    assert copy.read_bytes() == path.read_bytes()
    # The same file may be named again, another may not; the run needs neither.
    continue_run(run, {"data": {"generator": str(path)}, "eval": {"knn_k": 3}})
    with pytest.raises(ConfigError, match=r"data.generator=ydbdr contradicts .*, which was trained with sha256:"):
        continue_run(run, {"data": {"generator": "ydbdr"}})
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ConfigError, match=r"data.generator=sha256:\w+ contradicts"):
        continue_run(run, {"data": {"generator": str(path)}, "eval": {"knn_k": 4}})
    path.unlink()
    _, metrics = continue_run(run, {"eval": {"knn_k": 5}})
    assert metrics["linear_top1"] == whole["linear_top1"]
    assert metrics["config_digest"] != whole["config_digest"]
    shutil.copyfile(tmp_path / "plain" / "encoder.safetensors", copy)
    with pytest.raises(RunError, match=r"json is of a run with data.generator=sha256:\w+, and .*config.yaml has"):
        continue_run(run, {"eval": {"knn_k": 6}})


def test_all_images_of_a_run_are_colored(folder, trained, tmp_path):
    from rich.console import Console

    path = tmp_path / "g-{seed}.safetensors"
    trained.generator.save(tmp_path / "g-0.safetensors", {})
    config = small(folder, tmp_path / "run", f"data.generator={path}", f"eval.root={folder}")
    task, plain = load_task(config), load_task(small(folder, tmp_path / "run", f"eval.root={folder}"))
    for one, other in ((task.data, plain.data), (task.probed, plain.probed)):
        assert torch.equal(one.train.images, trained.generator.images(other.train.images))
        assert torch.equal(one.test.images, trained.generator.images(other.test.images))
    train(config)
    run = open_run(tmp_path / "run")
    assert load_generator(run.load_config().generator)
    out = tmp_path / "own.npz", tmp_path / "other.npz"
    quiet = Console(quiet=True)
    export_features(run.path, out[0], quiet)
    export_features(run.path, out[1], quiet, folder)
    import numpy as np

    own, other = np.load(out[0]), np.load(out[1])
    rows = dict(zip(other["files"].tolist(), other["features"], strict=True))
    for file, row in zip(own["train_files"].tolist(), own["train"], strict=True):
        assert np.allclose(rows[file], row, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["mode=sup"], 2, "mode=sup: "),
        (["space=lab"], 2, "space=lab: "),
        (["stpes=3"], 2, "unknown setting 'stpes': did you mean 'steps'?"),
        (["labels=0"], 2, "labels=0: expects at least 1"),
        (["method.name=simclr"], 2, "method.name=simclr: a view generator is trained against cmc, drop it"),
        (["data.generator=ydbdr"], 2, "data.generator=ydbdr: clgnn views trains one from images as they are"),
        (["data.rot=x"], 2, "did you mean data.root?"),
        (["--out", "g.pt"], 2, "--out g.pt: views are written as .safetensors, name the file g.safetensors"),
        (["--out", "no/g.safetensors"], 2, "there is no folder no"),
        (["--out", "there.safetensors"], 2, "--out there.safetensors exists: remove it, or name another file"),
        (["--out", "g.safetensors"], 2, "data.name=digits has 1 channel: a view generator expects color images"),
        (["--out", "g.safetensors", "data.root=photos"], 2, "mode=semi reads labels, and data.name=folder has none"),
        (
            ["--out", "g.safetensors", "data.root=photos", "data.memory=0"],
            2,
            "are read by the batch: raise data.memory",
        ),
    ],
)
def test_mistakes_of_the_command_are_one_line(clgnn, write_classes, tmp_path, words, code, message):
    (tmp_path / "there.safetensors").write_text("")
    if "data.root=photos" in words:
        (write_classes(tmp_path / "photos") / "dark").rename(tmp_path / "photos" / "unlabeled")
    found, _, err = clgnn("views", *words)
    assert (found, message in err) == (code, True), err
    assert len(err.strip().splitlines()) == 1


def test_the_command_writes_a_file_that_runs_read(clgnn, folder):
    code, out, err = clgnn("views", f"data.root={folder}", *TINY, *SHORT, "mode=unsupervised", "--out", "g.safetensors")
    assert code == 0, err
    assert "unsupervised views in rgb, 2 + 4 steps of 16 of 60 images" in out
    assert "I_NCE" in out
    code, out, err = clgnn("inspect", f"data.root={folder}", *TINY, "method.name=cmc", "data.generator=g.safetensors")
    assert code == 0, err
    assert "augmentation (view → view): 40 edges, mutual" in out
