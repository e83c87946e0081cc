from pathlib import Path

import pytest
from pydantic import ValidationError

import cl_as_gnn.methods
from cl_as_gnn.config import RunConfig, build_config, load_config, merge, parse_overrides, to_yaml
from cl_as_gnn.errors import ConfigError


def test_defaults_are_gcn_on_digits():
    config = load_config()
    assert (config.method.name, config.data.name, config.encoder.name) == ("gcn", "digits", "small")


def test_yaml_then_overrides(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("method: {name: gat, num_views: 3}\noptim: {lr: 0.1}\n")
    config = load_config(path, ["optim.lr=1e-3", "seed=4", "data.augment.crop_scale=[0.5, 1]"])
    assert config.method.name == "gat"
    assert config.method.num_views == 3
    assert config.optim.lr == 1e-3
    assert config.seed == 4
    assert config.data.augment.crop_scale == (0.5, 1.0)


def test_a_path_may_be_a_string(tmp_path):
    (tmp_path / "run.yaml").write_text("seed: 3\n")
    assert load_config(str(tmp_path / "run.yaml")).seed == 3


@pytest.mark.parametrize("name", ["2024", "2024-05-01", "20240501_1030", "007", "1.50", "12:30", "on", "a b"])
def test_a_folder_may_be_called_anything(name):
    config = load_config(None, [f"run_dir={name}", f"data.root={name}"])
    assert str(config.run_dir) == str(config.data.root) == name
    assert str(load_config(None, [f"run_dir={name!r}"]).run_dir) == name


def test_round_trip_through_yaml(tmp_path):
    config = load_config(None, ["method.name=jk", "method.stages=[0.6, 0.4]", "data.root=some/where"])
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert load_config(path) == config
    assert load_config(path).digest == config.digest


def test_digest_tells_experiments_apart_but_not_folders():
    base = load_config()
    assert load_config(None, ["run_dir=elsewhere"]).digest == base.digest
    assert load_config(None, ["trainer.checkpoint_every=0"]).digest == base.digest
    before = load_config(None, ["method.agreed=false", "method.gate=0.3"]).digest
    assert before == "f5c83feef2" != base.digest, "as in version 0.2, whose suites go on"
    scores = ("eval.shifts=[blur]", "eval.transfer=a", "eval.transfer_classes=[a, b]", "data.classes=[a, b]")
    for setting in ("seed=1", "encoder.freeze=1", "encoder.weights=a.pth", *scores):
        assert load_config(None, [setting]).digest != base.digest
    moved = load_config(None, ["eval.transfer=2024-05-01"])
    assert moved.eval.transfer == Path("2024-05-01"), "not a date"
    assert moved.digest == load_config(None, ["eval.transfer=a"]).digest


def test_another_method_keeps_the_settings_that_both_share(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("method: {name: gcn, num_hops: 2, temperature: 0.2, num_views: 3, k: 9}\n")
    assert load_config(path, ["method.k=3"]).method.num_hops == 2
    simclr = load_config(path, ["method.name=simclr"]).method
    assert (simclr.temperature, simclr.num_views) == (0.2, 3)
    gat = load_config(path, ["method.name=gat"]).method
    assert (gat.temperature, gat.num_views) == (0.2, 4), "gat has its own default of num_views"
    assert load_config(path, ["method.name=nn_positives"]).method.k == 1
    assert load_config(path, ["method.name=simsiam"]).method.name == "simsiam"


def test_frozen():
    with pytest.raises(ValidationError):
        load_config().seed = 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.temprature=.2", "unknown setting method.temprature=0.2: did you mean method.temperature?"),
        ("optm.lr=1", "did you mean optim?"),
        ("data.augment.crop_scal=1", "did you mean data.augment.crop_scale?"),
        ("data.zzz=1", "data has name, root"),
        ("method.name=gnc", "unknown method 'gnc' (method.name=gnc): did you mean 'gcn'?"),
        ("data.name=digit", "unknown data set 'digit' (data.name=digit): did you mean 'digits'?"),
        ("optim.lr=abc", "optim.lr=abc: expects a number"),
        ("optim.lr=-1", "optim.lr=-1: expects more than 0"),
        ("optim.lr=.nan", "optim.lr=nan: expects a finite number"),
        ("trainer.epochs=1.5", "trainer.epochs=1.5: expects a whole number"),
        ("data.augment.crop_scale=[2,1]", "two positive numbers, the smaller first"),
        (
            "data.augment.distance=0.25",
            "leaves no room for crops with sides of up to 1 of the image's: lower crop_scale",
        ),
        ("data.augment.crop_scale=[0.5,1.5]", "shares of the image, at most 1"),
        (
            "data.augment.jitter=[0.4,0.4,0.4,0.9]",
            "[0.4, 0.4, 0.4, 0.9]: expects four strengths of at least 0",
        ),
        ("data.augment.jitter=[-0.4,0.4,0.4,0.1]", "the last (hue) at most 0.5, got [-0.4, 0.4, 0.4, 0.1]"),
        ("trainer.epochs=true", "trainer.epochs=true: true and false mean nothing here"),
        ("data.image_size=8", "data.image_size=8 is for data.name=folder and the like: drop it"),
        ("method.num_views=1", "method.num_views=1: expects at least 2"),
        ("encoder.projector_hidden=99999999", "encoder.projector_hidden=99999999: expects at most 65536"),
        ("encoder.width=3", "encoder.width=3: expects a multiple of 2"),
        ("trainer={1: 2}", "expects names of settings, as in trainer.NAME=value"),
        ("trainer.epochs=null", "trainer.epochs=null: expects a whole number"),
        ("data.validation=1", "data.validation=1: expects less than 0.9"),
        ("trainer.compile=maybe", "trainer.compile=maybe: expects true or false"),
        ("data.augment.crop_scale=0.2", "data.augment.crop_scale=0.2: expects a list, as in [1, 2]"),
        ("data.augment.crop_scale=[0.2]", "data.augment.crop_scale=[0.2]: expects a list of 2"),
        ("data.augment.crop_scale=[0.2, 0.3, 0.4]", "expects a list of 2"),
        ("data.augment.jitter=[0.1]", "data.augment.jitter=[0.1]: expects a list of 4"),
        ("trainer=3", "trainer=3: expects settings, as in trainer.NAME=value"),
        ("method.name=[a]", "unknown method \"['a']\""),
        ("data.name=[a]", "unknown data set"),
        ("method=3", "method=3: a section expects settings, write method.name="),
        ("seed", "'seed' is not a setting: write key=value"),
        ("=3", "'=3' is not a setting"),
        ("seed=[1", "the value of seed=[1 cannot be read"),
    ],
)
def test_a_mistake_is_one_line_with_key_value_and_cure(override, message):
    with pytest.raises(ConfigError) as error:
        load_config(None, [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1", "is not YAML"), ("- 1", "holds list"), ("data: {name: digits", "is not YAML")],
)
def test_bad_files(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)
    with pytest.raises(ConfigError, match="no config file"):
        load_config(tmp_path / "none.yaml")


def test_a_mistake_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("trainer: {epoch: 3}\n")
    with pytest.raises(ConfigError, match=r"mine.yaml: unknown setting trainer.epoch=3: did you mean"):
        load_config(path, ["seed=3"])
    path.write_text("trainer: {epochs: 3}\n")
    with pytest.raises(ConfigError, match=r"^optim.lr=-1: "):
        load_config(path, ["optim.lr=-1"])


def test_merge_and_overrides():
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}
    assert parse_overrides(["a.b=1", "a.c=x", "d=[1, 2]", "e=null", "f=-2e3"]) == {
        "a": {"b": 1, "c": "x"},
        "d": [1, 2],
        "e": None,
        "f": -2000.0,
    }


def test_every_method_has_settings():
    for name in cl_as_gnn.methods.METHODS:
        assert isinstance(build_config({"method": {"name": name}}), RunConfig)


def test_the_order_of_overrides_does_not_matter():
    first = load_config(None, ["method.drop=0.9", "method.name=dropedge"])
    assert first.method.drop == 0.9
    assert first == load_config(None, ["method.name=dropedge", "method.drop=0.9"])


def test_another_encoder_keeps_the_settings_that_both_share(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text("encoder: {name: small, width: 64, projector_dim: 32}\n")
    encoder = load_config(path, ["encoder.name=resnet18"]).encoder
    assert (encoder.name, encoder.projector_dim) == ("resnet18", 32)
    with pytest.raises(ConfigError, match=r"encoder\.width"):
        load_config(path, ["encoder.name=resnet18", "encoder.width=64"])
