"""From a run and few labels to all labels, as tables and pages."""

import csv
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.labeling.label import label_rows


def two_lines():
    """Two lines of five unit rows that turn away from each other, and what is known of them."""
    angle = torch.cat([torch.arange(5) * 0.1, 2 + torch.arange(5) * 0.1])
    return torch.stack([angle.cos(), angle.sin()], 1)


def test_labels_spread_along_the_graph_and_say_who_decided():
    given = torch.full((10,), -1)
    given[[0, 9]] = torch.tensor([1, 0])
    labels = label_rows(two_lines(), given, 2, k=2)
    assert labels.label.tolist() == [1] * 5 + [0] * 5
    assert labels.confidence.tolist() == pytest.approx([1] * 10)
    assert (labels.hidden, labels.found_again) == (0, 0)
    assert set(labels.deciders[2].tolist()) <= {-1, 0, 1, 3, 4}
    assert labels.deciders[2, 0] in (1, 3)
    assert not labels.unreached.any()


def test_what_no_label_reaches_takes_that_of_the_most_similar_labeled_row_and_is_doubted():
    given = torch.full((10,), -1)
    given[[0, 4]] = torch.tensor([1, 0])
    labels = label_rows(two_lines(), given, 2, k=2)
    assert labels.unreached.tolist() == [False] * 5 + [True] * 5
    assert labels.label[5:].tolist() == [0] * 5
    assert labels.doubtful_first()[:5] == [5, 6, 7, 8, 9]
    assert labels.deciders[5:].tolist() == [[-1] * 3] * 5


def test_a_wrong_label_is_kept_contradicted_and_first():
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)) * 0.1
    y = torch.arange(60) % 2
    x = F.normalize(x + torch.eye(4)[y], dim=1)
    given = torch.where(torch.arange(60) < 20, y, -1)
    given[4] = 1
    labels = label_rows(x, given, 2, k=8)
    assert labels.label[4] == 1
    assert labels.against[4] == 0
    assert (labels.against >= 0).nonzero().view(-1).tolist() == [4]
    assert labels.doubtful_first()[0] == 4
    assert (labels.hidden, labels.found_again) == (20, 19)
    assert labels.label[20:].tolist() == y[20:].tolist()


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.images, self.words = 0, []
        self.feed(Path(path).read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.images += tag == "img"

    def handle_data(self, data):
        self.words.append(data)


def rows_of(path):
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run(clgnn, small, tmp_path):
    assert clgnn("train", *small, "trainer.epochs=3", "run_dir=run")[0] == 0
    return "run"


def test_from_a_run_to_all_labels(clgnn, run, tmp_path):
    code, out, err = clgnn("select", run, "--budget", "6")
    assert (code, err) == (0, "")
    assert "clgnn label run labels.csv" in out
    chosen = rows_of("labels.csv")
    assert [row["label"] for row in chosen] == [""] * 6
    assert Page("labels.html").images == 6
    for i, row in enumerate(chosen):
        row["label"] = f"<b>{i % 2}"
    with Path("labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["file", "label"])
        writer.writeheader()
        writer.writerows(chosen)
    code, out, err = clgnn("label", run, "labels.csv")
    assert (code, err) == (0, "")
    assert "<b>0" in out
    assert "given labels are found again" in out
    rows = rows_of("labeled.csv")
    assert {row["label"] for row in rows} == {"<b>0", "<b>1"}
    given = {row["file"]: row["given"] for row in rows if row["given"]}
    assert given == {row["file"]: row["label"] for row in chosen}
    plain = [float(row["confidence"]) for row in rows if "neighbors say" not in row["note"]]
    assert plain == sorted(plain)
    page = Page("labeled.html")
    assert page.images > 48
    assert any("<b>" in word for word in page.words)
    code, out, err = clgnn("select", run, "--budget", "3", "--out", "more.csv", "--labels", "labels.csv")
    assert (code, err) == (0, "")
    assert not {row["file"] for row in rows_of("more.csv")} & {row["file"] for row in chosen}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,label\n", "holds no label: fill in its column label"),
        ("file,label\ntrain/1,\n", "holds no label: fill in its column label"),
        ("file,label\nelsewhere.png,a\n", "names 'elsewhere.png', which is not among the images (1 such rows)"),
        ("file;label\n", "name two of them file and label"),
        ("file,label\ntrain/1,a\ntrain/1,b\n", "gives train/1 two labels"),
    ],
)
def test_a_table_that_is_wrong_is_one_line(clgnn, run, text, said):
    Path("given.csv").write_text(text)
    code, _, err = clgnn("label", run, "given.csv")
    assert code == 2
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert not Path("labeled.csv").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["label", "run", "none.csv"], "none.csv cannot be read"),
        (["label", "run", "given.csv", "--out", "given.csv"], "is the table of the given labels: name another file"),
        (["label", "run", "given.csv", "--out", "x.txt"], "name the file x.csv"),
        (["select", "run", "--out", "no/x.csv"], "there is no folder no"),
        (["select", "run", "--budget", "100000"], "budget=100000: choose from 1 to"),
        (["select", "run", "--images", "nowhere"], "the folder nowhere does not exist"),
        (["select", "other"], "other"),
    ],
)
def test_wrong_words_are_one_line(clgnn, run, words, said):
    Path("given.csv").write_text("file,label\ntrain/1,a\n")
    code, _, err = clgnn(*words)
    assert code in (1, 2)
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert Path("given.csv").read_text() == "file,label\ntrain/1,a\n"
