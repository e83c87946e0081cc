"""Write the encoder of a run for other programs: its weights under the model's own names, ONNX, ``torch.export``."""

from __future__ import annotations

import importlib.util
import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cl_as_gnn.datasets.view_generator import ViewGenerator, load_generator
from cl_as_gnn.errors import ConfigError, RunError
from cl_as_gnn.runs.folder import open_run, replaced
from cl_as_gnn.runs.load import load_encoder, read_header

Format = Literal["safetensors", "onnx", "torch"]
_ENDINGS: dict[str, Format] = {".safetensors": "safetensors", ".onnx": "onnx", ".pt2": "torch"}


class Normalized(nn.Module):
    """Float images from 0 to 1, ``(n, C, S, S)``, to the features of an encoder, ``(n, out_dim)``.

    The view generator of the run, if it has one, colors the images first, to as many levels as in training.
    """

    def __init__(self, encoder: nn.Module, mean: list[float], std: list[float], generator: ViewGenerator | None = None):
        super().__init__()
        self.encoder, self.generator = encoder, generator
        self.mean = nn.Buffer(torch.tensor(mean).view(-1, 1, 1))
        self.std = nn.Buffer(torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if self.generator is not None:
            images = self.generator.levels(images) / 255
        features: Tensor = self.encoder((images - self.mean) / self.std)
        return features


def export_encoder(path: Path, out: Path, form: Format | None = None) -> str:
    """Write the encoder of a finished run, and return a line that says how to read it.

    Args:
        path: the run folder.
        out: the file to write.
        form: ``safetensors`` (weights under the names of the model), ``onnx`` or ``torch`` (``torch.export``); the two
            programs take float images from 0 to 1 and normalize them. ``None``: by the ending of ``out``.

    Raises:
        ConfigError: the format or the place of the file is wrong, a package is missing, or the run has not finished.
        RunError: the encoder cannot be exported or the file cannot be written.
    """
    form = form or _ENDINGS.get(out.suffix)
    if form is None:
        raise ConfigError(f"--out {out}: name a file that ends in {', '.join(_ENDINGS)}, or give --format")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder: name a file in it")
    if form == "onnx" and (lacking := [p for p in ("onnx", "onnxscript") if importlib.util.find_spec(p) is None]):
        raise ConfigError(f"ONNX expects {' and '.join(lacking)}: pip install 'cl-as-gnn[onnx]'")
    run = open_run(path)
    encoder, header = load_encoder(run), read_header(run)
    if form != "safetensors" and "image_size" not in header:
        raise ConfigError(f"--format {form}: the encoder of {path} reads graphs, export it as safetensors")
    try:
        with replaced(out) as draft:
            if form == "safetensors":
                save_file({name: value.contiguous() for name, value in encoder.network.state_dict().items()}, draft)
            else:
                encoder = encoder.to(memory_format=torch.contiguous_format)
                name = run.load_config().generator
                generator = None if name is None else load_generator(name)
                model = Normalized(encoder, header["mean"], header["std"], generator)
                _write_program(model.eval(), header, draft, form)
    except Exception as error:  # safetensors and both exporters have types of their own
        reason = str(error).strip().partition("\n")[0]
        raise RunError(f"cannot write {out} ({type(error).__name__}: {reason})") from None
    return _reading(encoder.network, header, out) if form == "safetensors" else "float images from 0 to 1 to features"


def _write_program(model: nn.Module, header: dict[str, Any], draft: Path, form: Format) -> None:
    side = header["image_size"]
    images = torch.zeros(2, header["channels"], side, side)
    program = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("n")},))
    if form == "torch":
        with draft.open("wb") as file:
            torch.export.save(program, file)
        return
    with redirect_stdout(io.StringIO()):  # the exporter prints its progress
        made = torch.onnx.export(program, input_names=["images"], output_names=["features"], verbose=False)
    assert made is not None
    made.save(str(draft))


def _reading(network: nn.Module, header: dict[str, Any], out: Path) -> str:
    """How the package of the model reads the file."""
    package, _, model = header["encoder"]["name"].partition("/")
    if package == "timm":
        import timm

        if isinstance(getattr(network, "maxpool", None), nn.Identity):
            return f"weights under the names of timm's {model} with the 3×3 stem for small images"
        settings = f", in_chans={header['channels']}" * (header["channels"] != 3)
        if (own := timm.get_pretrained_cfg(model)) and own.fixed_input_size:
            settings += f", img_size={header['image_size']}"
        return f'timm.create_model("{model}", num_classes=0{settings}, checkpoint_path="{out}")'
    return "weights under the names of the model"
