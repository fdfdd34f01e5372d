"""Recognise files of other tools by their first bytes, and say how to bring what is in them.

Nothing in a file is run or unpickled here. A suffix counts only for formats without a mark.
"""

import zipfile
from pathlib import Path
from typing import NamedTuple

_HEAD = 4096
_TENSORFLOW_INDEX = bytes.fromhex("57fb808b247547db")  # at the end of a table of its checkpoints
EXPORTED = "an exported program (torch.export)"
_FACTORY = "file.py:factory --weights"
PLAIN_STATE_DICT = "save a plain state dict: torch.save(network.state_dict(), 'weights.pt')"


class FileKind(NamedTuple):
    """What a file is.

    Attributes:
        name: its name, with the article.
        as_model: how to bring it if a MODEL is asked for.
        as_weights: how to bring it if weights are asked for.
    """

    name: str
    as_model: str
    as_weights: str


def recognised(file: Path) -> FileKind | None:
    """Say what kind of file or folder this is; None if no mark tells."""
    try:
        if file.is_dir():
            return _folder(file)
        with file.open("rb") as handle:
            head = handle.read(_HEAD)
            handle.seek(max(file.stat().st_size - 8, 0))
            tail = handle.read(8)
    except OSError:
        return None
    if head.startswith(b"PK\x03\x04"):
        return _archive(file)
    return _by_mark(file, head, tail) or _by_suffix(file)


def _by_mark(file: Path, head: bytes, tail: bytes) -> FileKind | None:
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _to_onnx("a Keras or HDF5 file", f"--keras {file}")
    if b"TFL3" in head[:8]:
        return _to_onnx("a TensorFlow Lite file", f"--tflite {file}")
    if tail == _TENSORFLOW_INDEX:
        return _to_onnx("a checkpoint of TensorFlow", "--saved-model FOLDER")
    if head.startswith(b"GGUF"):
        return _both("a GGUF file of quantized weights", _unquantized())
    if head.startswith(b"\x93NUMPY"):
        return _both("one NumPy array", _torch_weights("your arrays by name, as torch tensors"))
    if head.startswith(b"version https://git-lfs"):
        remedy = f"fetch it: git lfs pull --include {file.name}"
        return _both("a pointer of Git LFS, in place of the file itself", remedy)
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return _both("a page of HTML, as a failed download leaves it", "download the file again")
    if head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar":
        remedy = f"unpack it, and name the file in it: tar -xf {file}"
        return _both("a packed archive", remedy)
    if head[:1] == b"\x80" and head[1:2] <= b"\x05" and len(head) > 1:
        return _pickle(file)
    if _is_safetensors(head):
        return FileKind(
            "a file of tensors (safetensors)",
            f"name the network they are for: {_FACTORY} {file}",
            f"name it {file.with_suffix('.safetensors').name}",
        )
    return None


def _by_suffix(file: Path) -> FileKind | None:
    match file.suffix:
        case ".pb":
            return _to_onnx(
                "a graph of TensorFlow", f"--graphdef {file} --inputs IN:0 --outputs OUT:0"
            )
        case ".caffemodel" | ".mlmodel" | ".pdparams" | ".params" | ".engine":
            return _both("a file of another framework", "export the network to ONNX there")
    return None


def _folder(file: Path) -> FileKind | None:
    if (file / "saved_model.pb").is_file():
        return _to_onnx("a SavedModel of TensorFlow", f"--saved-model {file}")
    return None


def _archive(file: Path) -> FileKind | None:
    """Say what a zip archive is, by the names in it."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    ends = {name.rpartition("/")[2] for name in names}
    if "archive_format" in ends:
        remedy = f"give it the suffix .pt2, and name it as MODEL: {file.with_suffix('.pt2').name}"
        return _both(EXPORTED, remedy)
    if "constants.pkl" in ends:
        return _torchscript(file)
    if "data.pkl" in ends:
        return _pickle(file)
    if "model.weights.h5" in ends:
        return _to_onnx("a Keras file", f"--keras {file}")
    if "MAR-INF/MANIFEST.json" in names:
        remedy = f"unpack it (unzip {file}), and give the weights in it: {_FACTORY} FILE"
        return _both("an archive of TorchServe (.mar)", remedy)
    if names and all(name.endswith(".npy") for name in names):
        tensors = f"{{k: torch.from_numpy(v) for k, v in numpy.load('{file}').items()}}"
        return _both("an archive of NumPy arrays (npz)", _torch_weights(tensors))
    return None


def _is_safetensors(head: bytes) -> bool:
    """Return whether a file has a length in eight bytes, and then JSON that names tensors."""
    return len(head) > 9 and head[6:8] == b"\0\0" and head[8:9] == b"{"


def _both(name: str, remedy: str) -> FileKind:
    return FileKind(name, remedy, remedy)


def _to_onnx(name: str, source: str) -> FileKind:
    convert = f"python -m tf2onnx.convert {source} --output network.onnx"
    return _both(name, f"export it to ONNX, and name that as MODEL: {convert}")


def _unquantized() -> str:
    return f"take the float weights it was made from, as a PyTorch state dict: {_FACTORY} FILE"


def _torch_weights(tensors: str) -> str:
    return f"save them for PyTorch: torch.save({tensors}, 'weights.pt'); {_FACTORY} weights.pt"


def _torchscript(file: Path) -> FileKind:
    state = f"torch.jit.load('{file}').state_dict()"
    return _both(
        "a TorchScript archive, which holds code",
        f"if you trust it, save its weights: torch.save({state}, 'weights.pt'); then give them to "
        f"the network's factory: {_FACTORY} weights.pt",
    )


def _pickle(file: Path) -> FileKind:
    return FileKind(
        "a file of torch.save or pickle: weights, and no network that can be read safely",
        f"name the network's factory, and give it the weights: {_FACTORY} {file}",
        PLAIN_STATE_DICT,
    )


def whole_network(file: Path) -> str:
    """Say how to bring the weights of a network that was pickled whole."""
    state = f"torch.load('{file}', weights_only=False).state_dict()"
    return (
        f"if you trust it, save its weights: torch.save({state}, 'weights.pt'); then give them to "
        f"the network's factory: {_FACTORY} weights.pt"
    )
