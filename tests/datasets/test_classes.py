"""``data.classes``: the images of some classes alone."""

import pytest
import torch

from cl_as_gnn.config import load_config
from cl_as_gnn.datasets import load_images
from cl_as_gnn.datasets.images import chosen_classes
from cl_as_gnn.datasets.store import FileStore
from cl_as_gnn.errors import ConfigError

ANIMALS = ("bird", "cat", "dog")


@pytest.fixture
def animals(tmp_path, write):
    """Three classes of 20 training and 3 test images whose gray level tells the class, and 4 images without labels."""
    for number, name in enumerate(ANIMALS):
        write(tmp_path / "animals" / "train" / name, 20, start=80 * number)
        write(tmp_path / "animals" / "test" / name, 3, start=80 * number + 40)
    write(tmp_path / "animals" / "unlabeled", 4, start=70)
    return tmp_path / "animals"


def splits(data):
    return {name: getattr(data, name) for name in ("train", "validation", "test")}


def test_labels_index_the_chosen_classes():
    labels = torch.tensor([2, 0, -1, 1, 2])
    assert chosen_classes(labels, ANIMALS, ["dog", "bird"])[0] == ("bird", "dog")
    assert chosen_classes(labels, ANIMALS, ["dog", "bird"])[1].tolist() == [1, 0, -1, -1, 1]
    assert chosen_classes(labels[:0], ANIMALS, ["dog", "bird"])[1].tolist() == []


def test_a_folder_reads_and_decodes_the_chosen_classes_alone(animals, config, monkeypatch):
    decoded = []
    decode = FileStore.decode
    monkeypatch.setattr(FileStore, "decode", lambda store, rows: decoded.extend(rows.tolist()) or decode(store, rows))
    data = load_images(config(animals, classes=("dog", "bird")), progress=False)
    assert data.classes == ("bird", "dog")
    assert {name: torch.bincount(split.labels).tolist() for name, split in splits(data).items()} == {
        "train": [16, 16],
        "validation": [4, 4],
        "test": [3, 3],
    }
    for split in splits(data).values():
        assert torch.equal(split.labels, (split.images[:, 0, 0, 0] >= 160).long())
        assert all("dog" in file or "bird" in file for file in split.files)
    assert len(decoded) == 46
    assert data.notes[0].startswith("46 images, 2 of 3 classes (folders)")
    every = load_images(config(animals, classes=ANIMALS), progress=False)
    assert len(every.train) == 48, "images without a label are left out"


def test_images_that_are_read_by_the_batch(animals, config):
    one = load_images(config(animals, classes=("cat", "dog")), progress=False)
    other = load_images(config(animals, classes=("cat", "dog"), memory=0), progress=False)
    for name, split in splits(one).items():
        index = torch.arange(len(split))
        assert torch.equal(split.images, getattr(other, name).read(index)[0])
        assert torch.equal(split.labels, getattr(other, name).labels)


def test_a_set_in_memory():
    whole, data = (load_images(load_config(None, words).data, False) for words in ([], ["data.classes=[3, 0, 8]"]))
    assert data.classes == ("0", "3", "8")
    assert data.notes == (f"{sum(map(len, splits(data).values())):,} images of 3 of the 10 classes",)
    for name, split in splits(whole).items():
        kept = torch.isin(split.labels, torch.tensor([0, 3, 8]))
        assert torch.equal(getattr(data, name).images, split.images[kept])
        assert torch.equal(torch.tensor([0, 3, 8])[getattr(data, name).labels], split.labels[kept])
    assert data.restricted(["8", "3", "0"]) is data


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["data.classes=[1, x]"], "data.classes=[1, x]: there is no class 'x', there are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        (["data.classes=[1]"], "expects two or more names of classes, each once, got [1]"),
        (["data.classes=[1, 1]"], "expects two or more names of classes, each once, got [1, 1]"),
        (["data.classes=[yes, no]"], "expects names of classes: quote what YAML reads as true or false"),
        (["data.classes=cat"], "data.classes=cat: expects a list"),
        (["data.classes=[1, 2.5]"], "data.classes=2.5: expects a name"),
        (
            ["data.root=animals", "data.labels=none", "data.classes=[cat, dog]"],
            "expects labels, and the images have",
        ),
        (["data.name=factors", "data.root=animals", "data.classes=[cat, dog]"], "draws digits of all classes, drop it"),
        (["data.name=karate", "data.classes=[a, b]"], "unknown setting data.classes"),
    ],
)
def test_a_mistake_is_one_line(clgnn, animals, words, line):
    code, _, err = clgnn("train", *words, "run_dir=run")
    assert code == 2
    assert line in err
    assert len(err.strip().splitlines()) == 1


def test_a_packed_folder_holds_every_class_and_a_run_chooses(clgnn, animals, config, tmp_path):
    assert "a packed folder holds every class" in clgnn("pack", "data.root=animals", "data.classes=[cat, dog]")[2]
    code, _, err = clgnn("pack", "data.root=animals", "--out", "packed")
    assert code == 0, err
    data = load_images(config(tmp_path / "packed", classes=("cat", "dog")), progress=False)
    expected = load_images(config(animals, classes=("cat", "dog")), progress=False)
    for name, split in splits(expected).items():
        assert torch.equal(getattr(data, name).images, split.images)
        assert torch.equal(getattr(data, name).labels, split.labels)


def test_many_classes_are_not_all_told():
    with pytest.raises(ConfigError, match=r"there are 0, 1, .*, 29, … \(1,000 in all\)$"):
        chosen_classes(torch.tensor([0]), tuple(map(str, range(1000))), ["x", "1"])
