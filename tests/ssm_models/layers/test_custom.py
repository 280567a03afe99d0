"""A layer of the user's own: which files are part of it, how it is loaded, what its failures say."""

import sys
from pathlib import Path

import pytest
import torch
from ssm_models.config import CustomLayerConfig, Interface, StackConfig
from ssm_models.config.custom_layer_files import LayerFileError, source_digest, source_files
from ssm_models.layers.custom import CustomLayer, load_class
from ssm_models.model import build_model

LAYER = """
from torch import nn
class Mix(nn.Module):
    def __init__(self, d_model, scale=1.0):
        super().__init__()
        self.scale = scale
    def forward(self, u):
        return f(u) * self.scale
"""


def write(folder: Path, **files: str) -> Path:
    """Write ``name="text"`` as name.py, ``a_in_b`` as b/a.py."""
    for name, text in files.items():
        stem, _, package = name.partition("_in_")
        file = folder / package / f"{stem}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def output(path: str) -> float:
    """What the layer makes of 1."""
    return float(CustomLayer(2, CustomLayerConfig(path=path))(torch.ones(1, 3, 2))[0][0, 0, 0])


IMPORTS = {
    "import": "import helpers\nf = helpers.f",
    "import as": "import helpers as h\nf = h.f",
    "from": "from helpers import f",
    "star": "from helpers import *",
    "relative": "from .helpers import f",
    "relative module": "from . import helpers\nf = helpers.f",
    "inside a function": "def f(u):\n    from helpers import f as g\n    return g(u)",
    "of a package": "import inner.deep\nf = inner.deep.f",
    "from a package": "from inner.deep import f",
    "module from a package": "from inner import deep\nf = deep.f",
    "relative from a folder": "from .plain.deep import f",
    "through another file": "from middle import f",
    "through a relative file": "from inner.up import f",
}


@pytest.mark.parametrize("statement", IMPORTS.values(), ids=IMPORTS)
def test_a_layer_imports_the_files_beside_it(tmp_path: Path, statement: str) -> None:
    before = list(sys.path)
    for folder, factor in (("a", 2), ("b", 3)):
        f = f"def f(u): return {factor} * u\n"
        write(
            tmp_path / folder, helpers=f, own=statement + LAYER, __init___in_inner="", deep_in_inner=f, deep_in_plain=f,
            middle="from helpers import f\n", up_in_inner="from ..helpers import f\n",
        )  # fmt: skip
    for folder, factor in (("a", 2), ("b", 3), ("a", 2)):
        assert output(f"{tmp_path / folder}/own.py:Mix") == factor
    assert sys.path == before
    assert not {"helpers", "inner", "middle", "own"} & sys.modules.keys()
    assert not list(tmp_path.rglob("__pycache__"))


@pytest.mark.parametrize("statement", IMPORTS.values(), ids=IMPORTS)
def test_an_edit_of_a_file_beside_it_gives_another_digest_and_another_layer(tmp_path: Path, statement: str) -> None:
    f = "def f(u): return 2 * u\n"
    write(
        tmp_path, helpers=f, own=statement + LAYER, __init___in_inner="", deep_in_inner=f, deep_in_plain=f,
        middle="from helpers import f\n", up_in_inner="from ..helpers import f\n", stranger="",
    )  # fmt: skip
    path = f"{tmp_path}/own.py:Mix"
    first, old = source_digest(path), load_class(path)
    write(tmp_path, stranger="edited = True")
    assert source_digest(path) == first
    assert load_class(path) is old
    used = [name for name, text in source_files(path).items() if "2 * u" in text.decode()]
    assert len(used) == 1
    (tmp_path / used[0]).write_text("def f(u): return 7 * u\n")  # the same size in the same second
    assert source_digest(path) != first
    assert output(path) == 7
    assert float(old(2)(torch.ones(1))) == 2


def test_an_edit_of_the_layer_itself_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, own="f = lambda u: u" + LAYER)
    path = f"{tmp_path}/own.py:Mix"
    assert output(path) == 1
    first = source_digest(path)
    write(tmp_path, own="f = lambda u: 5 * u" + LAYER)
    assert source_digest(path) != first
    assert output(path) == 5


def test_the_digest_does_not_depend_on_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder, helpers="f = lambda u: u", own="from helpers import f" + LAYER)
    monkeypatch.chdir(tmp_path / "b")
    assert source_digest(f"{tmp_path}/a/own.py:Mix") == source_digest("own.py:Mix")
    write(tmp_path / "a", other="from helpers import f" + LAYER)
    assert source_digest(f"{tmp_path}/a/other.py:Mix") != source_digest("own.py:Mix")


def test_the_digest_executes_nothing(tmp_path: Path) -> None:
    write(tmp_path, helpers="1 / 0", own="import helpers, sys\nsys.exit(3)\nf = 1" + LAYER)
    assert list(source_files(f"{tmp_path}/own.py:Mix")) == ["own.py", "helpers.py"]


def test_an_installed_package_is_no_part_of_the_layer(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()  # a folder without __init__.py does not hide an installed package
    write(tmp_path, nn_in_torch="", own="import torch.nn\nf = lambda u: u" + LAYER)
    assert list(source_files(f"{tmp_path}/own.py:Mix")) == ["own.py"]
    assert output(f"{tmp_path}/own.py:Mix") == 1


def test_files_that_import_each_other(tmp_path: Path) -> None:
    write(tmp_path, a="import own\ndef f(u): return own.two * u", own="two = 2\nfrom a import f" + LAYER)
    assert output(f"{tmp_path}/own.py:Mix") == 2


BROKEN = {
    "missing package": ("import no_such_package", r"own.py, line 1: it imports no_such_package, which is neither"),
    "syntax": ("def f(:", r"own.py, line 1 is not valid Python"),
    "exception": ("\n1/0", r"cannot be imported: own.py, line 2: ZeroDivisionError: division by zero\."),
    "exit": ("raise SystemExit(3)", r"own.py, line 1: it ends the program with sys.exit\(3\)"),
    "exit 0": ("import sys; sys.exit(0)", r"own.py, line 1: it ends the program with sys.exit\(0\)"),
    "neighbour": ("import bad", r"cannot be imported: bad.py, line 2: ZeroDivisionError"),
    "neighbour's syntax": ("import worse", r"worse.py, line 1 is not valid Python"),
    "name of a neighbour": ("from fine import absent", r"line 1: ImportError: cannot import name 'absent'"),
    "above the folder": ("from ..fine import f", r"line 1: ImportError"),
}


@pytest.mark.parametrize(("text", "sentence"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    write(tmp_path, own=text + LAYER, fine="f = lambda u: u", bad="\n1/0", worse="def f(:")
    before = set(sys.modules)
    for _ in range(2):
        with pytest.raises(LayerFileError, match=sentence) as error:
            load_class(f"{tmp_path}/own.py:Mix")
        assert str(error.value).endswith(".")
    assert not {name for name in sys.modules if name.startswith("ssm_custom")} - before
    write(tmp_path, own="f = lambda u: u" + LAYER)
    assert output(f"{tmp_path}/own.py:Mix") == 1


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("own.py:Nix", "has no nn.Module called 'Nix'; it has Mix"),
        ("own.py:nn", "has no nn.Module called 'nn'"),
        ("absent.py:Mix", "There is no file"),
        ("own.py", "named as file.py:Class"),
        ("own:Mix", "named as file.py:Class"),
        ("bytes.py:Mix", "is not valid Python"),
        ("zeros.py:Mix", "is not valid Python"),
        ("deep.py:Mix", "is not valid Python"),
        (f"{'x' * 300}.py:Mix", "cannot be found"),
        ("~no_such_user/own.py:Mix", "(?s)cannot be found|no file"),
    ],
)
def test_a_path_that_names_no_layer_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, sentence: str
) -> None:
    monkeypatch.chdir(write(tmp_path, own="f = lambda u: u" + LAYER, deep="(" * 5000 + ")" * 5000))
    (tmp_path / "bytes.py").write_bytes(b"\377\376x")
    (tmp_path / "zeros.py").write_bytes(b"x = 1\0")
    with pytest.raises(LayerFileError, match=sentence) as error:
        load_class(path)
    assert str(error.value).endswith(".")


CONSTRUCTOR = """
import sys
from torch import nn
class Exits(nn.Module):
    def __init__(self, d_model): sys.exit(0)
class Fails(nn.Module):
    def __init__(self, d_model): super().__init__(); self.a = nn.Linear(d_model, "x")
class ExitsLater(nn.Module):
    def forward(self, u): sys.exit(0)
    def __init__(self, d_model): super().__init__()
"""


@pytest.mark.parametrize(
    ("name", "args", "sentence"),
    [
        ("Exits", {}, r"failed at Exits\(2\): own.py, line 5: it ends the program with sys.exit\(0\)"),
        ("Fails", {}, r"failed at Fails\(2\): own.py, line 7: TypeError"),
        ("Fails", {"width": 3}, r"cannot be called as Fails\(2, width=3\): .*unexpected keyword argument 'width'"),
        ("ExitsLater", {}, r"own.py, line 9: it ends the program with sys.exit\(0\)"),
    ],
)
def test_a_class_that_fails_is_a_sentence(tmp_path: Path, name: str, args: dict, sentence: str) -> None:
    write(tmp_path, own=CONSTRUCTOR)
    with pytest.raises(LayerFileError, match=sentence):
        CustomLayer(2, CustomLayerConfig(path=f"{tmp_path}/own.py:{name}", args=args))(torch.ones(1, 3, 2))


def test_a_layer_with_neighbours_compiles(tmp_path: Path) -> None:
    write(tmp_path, helpers="def f(u): return 2 * u", own="from helpers import f" + LAYER)
    config = StackConfig(layer=CustomLayerConfig(path=f"{tmp_path}/own.py:Mix"), n_layers=1, d_model=2)
    model = build_model(config, Interface(tokens=False, d_input=2, d_output=2, l_max=5)).eval()
    u = torch.randn(3, 5, 2)
    torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(u), model(u))
