"""Lists of what there is: in a terminal, in a pipe, as JSON, and in the completion of a shell."""

import json
import re

import pytest

from cl_as_gnn.cli import common
from cl_as_gnn.registry import DATASETS, ENCODERS, METHODS


@pytest.fixture
def terminal(monkeypatch):
    """The output is a terminal of 80 columns."""
    monkeypatch.setattr(common.console, "_force_terminal", True)


@pytest.mark.parametrize(
    ("command", "registry", "lines"), [("methods", METHODS, 2), ("encoders", ENCODERS, 1), ("data", DATASETS, 1)]
)
def test_lists_are_compact_and_unbroken_in_a_pipe(clgnn, command, registry, lines, request):
    code, out, _ = clgnn(command)
    assert code == 0
    names = [name for name, _ in registry.named()]
    assert [line.split("\t")[0] for line in out.splitlines()] == names
    assert not {"given", "given_gnn", "given_nodes"} & set(names), "what is passed from Python has no name to choose"
    assert not re.search("\x1b", out)
    found = json.loads(clgnn(command, "--json")[1])
    assert [entry["name"] for entry in found] == names
    assert all(entry["settings"] for entry in found)
    request.getfixturevalue("terminal")
    shown = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in clgnn(command)[1].splitlines()]
    assert shown[-1].startswith(f"next: clgnn {command} NAME  or  clgnn train ")
    assert len(shown) == lines * len(names) + 1 + (lines == 1)
    assert max(map(len, shown[:-1])) <= 80


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["methods", "gcn"], ["A = (1 - λ) A_aug", "source", "method.num_hops\tinteger 1–16\t4\tnumber of hops"]),
        (["encoders", "vit"], ["reads  images", "encoder.patch\t"]),
        (["data", "karate"], ["samples  nodes", "data.augment.drop_edge\tnumber or [number, number]\t0.3"]),
        (["settings", "optim.lr", "data.name=karate"], ["optim.lr\tnumber > 0\t0.001\tpeak learning rate"]),
        (["settings", "method", "method.name=simsiam"], ["method.num_views\t"]),
    ],
)
def test_one_entry_shows_its_description_and_settings(clgnn, words, parts):
    code, out, err = clgnn(*words)
    assert code == 0, err
    for part in parts:
        assert part in out
    assert "``" not in out


def test_every_setting_has_a_description(clgnn, terminal):
    for name in METHODS:
        found = json.loads(
            clgnn("settings", "--json", f"method.name={name}", *(["data.name=karate"] * (name in ("dgi", "ncl"))))[1]
        )
        assert [setting["key"] for setting in found if not setting["description"]] == []
    out = clgnn("settings", "trainer")[1]
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in out.splitlines()) <= 80
    assert clgnn("settings", "trainr")[2] == "error: unknown part 'trainr': did you mean 'trainer'?\n"


@pytest.mark.parametrize(
    ("shell", "words", "found"),
    [
        ("bash", "clgnn train method.name = nnc", "nnclr"),
        ("bash", "clgnn train trainer.pr", "trainer.precision="),
        ("zsh", "clgnn train trainer.precision=b", "trainer.precision=bf16"),
        ("zsh", "clgnn train method.name=gat method.num_", "method.num_views="),
        ("zsh", "clgnn encoders sm", "small"),
    ],
)
def test_shells_complete_settings_and_names(clgnn, monkeypatch, shell, words, found):
    for key, value in {
        "_CLGNN_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": words,
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }.items():
        monkeypatch.setenv(key, value)
    code, out, _ = clgnn()
    assert code == 0
    assert re.findall(r"[\w.=]+", out)[-1] == found
