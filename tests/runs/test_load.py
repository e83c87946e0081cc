import json
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cl_as_gnn.errors import RunError
from cl_as_gnn.runs.folder import RunFolder, open_run
from cl_as_gnn.runs.load import load_encoder, load_method
from cl_as_gnn.tasks import load_task
from cl_as_gnn.training.fit import continue_run, train


def test_a_checkpoint_of_another_method_is_refused(tmp_path, configure):
    train(configure(tmp_path / "a", "trainer.epochs=1"))
    train(configure(tmp_path / "b", "trainer.epochs=1", "method.name=simclr"))
    (tmp_path / "a" / "checkpoints" / "last.ckpt").rename(tmp_path / "b" / "checkpoints" / "last.ckpt")
    (tmp_path / "b" / "metrics.json").unlink()
    with pytest.raises(RunError, match=r"last\.ckpt is of a run with method.name=gcn, and .* has method.name=simclr"):
        continue_run(tmp_path / "b", {})


def test_a_broken_checkpoint_is_one_line(tmp_path, configure):
    train(configure(tmp_path / "a", "trainer.epochs=1"))
    path = tmp_path / "a" / "checkpoints" / "last.ckpt"
    path.write_bytes(b"torn")
    (tmp_path / "a" / "metrics.json").unlink()
    with pytest.raises(RunError, match=r"last\.ckpt cannot be read"):
        continue_run(tmp_path / "a", {})
    torch.save({"state_dict": {}}, path)
    with pytest.raises(RunError, match="not a checkpoint of this package"):
        continue_run(tmp_path / "a", {})


def test_a_broken_encoder_is_one_line(tmp_path, configure):
    train(configure(tmp_path / "run", "trainer.epochs=1"))
    (tmp_path / "run" / "encoder.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError, match=r"encoder\.safetensors cannot be read"):
        load_encoder(RunFolder(tmp_path / "run"))


def test_an_encoder_of_another_method_is_not_scored(tmp_path, configure):
    for name in ("gcn", "simclr"):
        train(configure(tmp_path / name, f"method={{name: {name}}}", "trainer.epochs=1"))
    (tmp_path / "simclr" / "encoder.safetensors").replace(tmp_path / "gcn" / "encoder.safetensors")
    with pytest.raises(RunError, match=r"is of a run with method.name=simclr, and .*config.yaml has method.name=gcn"):
        load_encoder(RunFolder(tmp_path / "gcn"))


def test_the_method_of_a_run_is_that_of_its_last_checkpoint(tmp_path, configure, weights):
    train(configure(tmp_path / "run", "trainer.epochs=1", "method.name=nn_positives"))
    run = open_run(tmp_path / "run")
    config = run.load_config()
    found = load_method(config, load_task(config), run).state_dict()
    expected = {k.removeprefix("method."): v for k, v in weights(run.path).items() if k.startswith("method.")}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)


def test_a_run_whose_gnn_was_named_by_its_convolution_goes_on(tmp_path, configure):
    """As version 0.2 wrote it, in ``config.yaml``, the checkpoint and the header of the encoder."""
    metrics = train(configure(tmp_path / "run", "data.name=karate", "trainer.epochs=1"))
    run = open_run(tmp_path / "run")

    def old(settings):
        settings["encoder"]["name"] = settings["encoder"].pop("conv")
        return settings

    run.config.write_text(run.config.read_text().replace("name: gnn", "name: gcn").replace("  conv: gcn\n", ""))
    state = torch.load(run.checkpoint, weights_only=True)
    old(state["cl_as_gnn"]["config"])
    torch.save(state, run.checkpoint)
    with safe_open(str(run.encoder), framework="pt") as file:
        meta = json.loads(file.metadata()["cl_as_gnn"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
    save_file(tensors, run.encoder, {"cl_as_gnn": json.dumps(old(meta) | {"config": old(meta["config"])})})
    old(metrics["config"])
    run.metrics.write_text(json.dumps(metrics))
    assert load_encoder(run).config.conv == "gcn"
    assert run.load_metrics()["config_digest"] == run.load_config().digest
    assert continue_run(run.path, {"trainer": {"epochs": 2}})[1]["epochs"] == 2


def test_a_command_in_a_line_is_quoted_for_the_shell(tmp_path):
    run = tmp_path / "my run"
    run.mkdir()
    (run / "config.yaml").write_text("data: {name: digits}\n")
    with pytest.raises(ValueError, match=f"continue it with clgnn train resume='{run}'"):
        RunFolder(run).load_metrics()


def test_what_uses_a_trained_encoder_imports_no_trainer_and_no_scikit_learn():
    """Nor does the look at any method, encoder or data set: a command like embed would wait two seconds for it."""
    code = "import sys, cl_as_gnn.runs.load as load\nfrom cl_as_gnn.registry import DATASETS, ENCODERS, METHODS\n"
    code += "assert all(len([*table]) > 3 for table in (DATASETS, ENCODERS, METHODS))\n"
    code += "print({'lightning', 'sklearn', 'scipy.stats'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout == "set()\n", found.stderr
