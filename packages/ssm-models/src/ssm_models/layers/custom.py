"""Custom layers, classes that the user wrote, loaded from a file."""

import builtins
import hashlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from torch import Tensor, nn

from ssm_models.config import CustomLayerConfig
from ssm_models.config.custom_layer_files import LayerFileError, digest, is_neighbour, source_files, split_path
from ssm_models.contract import SequenceLayer, State
from ssm_models.modules.padding import mask_padding

_PREFIX = "ssm_custom_"


class CustomLayer(SequenceLayer):
    """Any module that maps (B, L, H) to (B, L, H).

    Args:
        d_model: H; the first argument of the class.
        config: path and arguments of the class.

    Raises:
        LayerFileError: see :func:`load_class`; or the class does not take the arguments, or fails with them.
    """

    def __init__(self, d_model: int, config: CustomLayerConfig) -> None:
        super().__init__()
        self.path = config.path
        self.d_output = d_model
        cls = load_class(config.path)
        call = f"{cls.__name__}({', '.join([str(d_model), *(f'{k}={v!r}' for k, v in config.args.items())])})"
        try:
            inspect.signature(cls).bind(d_model, **config.args)
        except TypeError as error:
            raise LayerFileError(f"{config.path} cannot be called as {call}: {error}.") from error
        try:
            self.module = cls(d_model, **config.args)
        except (Exception, SystemExit) as error:
            raise LayerFileError(
                f"{config.path} failed at {call}: {_reason(error, split_path(config.path)[0])}"
            ) from error

    def forward(
        self, u: Tensor, state: State = None, *, lengths: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, State]:
        self.refuse_state(state)
        if rate != 1.0:
            raise ValueError(f"{self.path} has no sampling rate, so it cannot run at rate {rate}.")
        try:
            y = self.module(mask_padding(u, lengths))
        except SystemExit as error:  # it would end the command without a message
            raise LayerFileError(f"{self.path} failed: {_reason(error, split_path(self.path)[0])}") from error
        if isinstance(y, tuple):
            y = y[0]
        if not isinstance(y, Tensor) or y.shape != u.shape:
            got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(f"{self.path} must give a tensor of its input's shape {tuple(u.shape)}, not {got}.")
        return y, None

    def why_not_causal(self) -> str:
        return f"{self.path} is used in its convolutional form alone."


def load_class(path: str) -> type[nn.Module]:
    """Import the ``nn.Module`` subclass that ``file.py:Class`` names.

    The file can import files and packages beside it, by ``import name`` as in a script or by ``from .name import ...``.
    They are loaded only for this layer: files with the same name in other folders are other modules, and ``sys.path``
    does not change. If a file has changed since it was loaded in this process, the layer is loaded again.

    Raises:
        LayerFileError: there is no such file or class, or importing the file fails.
    """
    file, attribute = split_path(path)
    sources = source_files(path)
    # The name belongs to one version of the sources, so that classes of an older version keep their own modules.
    package = _PREFIX + hashlib.sha256(f"{file}\0{digest(sources)}".encode()).hexdigest()[:16]
    name = f"{package}.{file.stem}"
    module = sys.modules.get(name) or _load(package, file, sources)
    cls = getattr(module, attribute, None)
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        classes = [
            each
            for each, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == name
        ]
        raise LayerFileError(f"{file} has no nn.Module called {attribute!r}; it has {', '.join(classes) or 'none'}.")
    return cls


def _load(package: str, file: Path, sources: dict[str, bytes]) -> ModuleType:
    """Import ``file`` as a module of a package that represents its folder and holds the sources that were read."""
    sys.modules[package] = _Folder(package, file.parent, sources)
    if not any(isinstance(each, _Finder) for each in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    try:
        return importlib.import_module(f"{package}.{file.stem}")
    except BaseException as error:
        for name in [each for each in sys.modules if each == package or each.startswith(f"{package}.")]:
            del sys.modules[name]
        if isinstance(error, Exception | SystemExit):
            raise LayerFileError(f"{file} cannot be imported: {_reason(error, file)}") from error
        raise


def _reason(error: BaseException, file: Path) -> str:
    """Return a sentence with the error, and with the line of a file in the layer's folder in which it occurred."""
    if isinstance(error, SystemExit):
        what = f"it ends the program with sys.exit({error.code!r})"
    elif isinstance(error, ModuleNotFoundError):
        what = f"it imports {error.name}, which is neither installed nor a file beside it"
    elif isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno} is not valid Python: {error.msg}."
    else:
        what = f"{type(error).__name__}: {error}".rstrip(".")
    lines = [
        f"{Path(frame.filename).name}, line {frame.lineno}: "
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(file.parent)
    ]
    return f"{lines[-1] if lines else ''}{what}."


class _Folder(ModuleType):
    """The package that represents the folder of a layer.

    Attributes:
        sources: content of the layer's files by their names in the folder.
    """

    def __init__(self, name: str, path: Path, sources: dict[str, bytes]) -> None:
        super().__init__(name)
        self.__path__ = [str(path)]
        self.path, self.sources = path, sources


class _Finder(MetaPathFinder):
    """Find the modules of the packages that represent the folders of layers."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None or not fullname.startswith(_PREFIX):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Load a file of a layer from the source that was read; its imports search the layer's folder first."""

    def get_code(self, fullname: str) -> CodeType:
        # Do not use the bytecode cache: it compares only size and time in seconds, and writes into the user's folder.
        path, folder = self.get_filename(fullname), _folder(fullname)
        source = folder.sources.get(Path(path).relative_to(folder.path).as_posix())
        return self.source_to_code(self.get_data(path) if source is None else source, path)

    def exec_module(self, module: ModuleType) -> None:
        package, folder = module.__name__.partition(".")[0], _folder(module.__name__).path

        def import_neighbour(
            name: str,
            globals: Mapping[str, Any] | None = None,
            locals: Mapping[str, Any] | None = None,
            fromlist: Sequence[str] = (),
            level: int = 0,
        ) -> ModuleType:
            top = name.partition(".")[0]
            if level or not is_neighbour(folder, top):
                return builtins.__import__(name, globals, locals, fromlist, level)
            # With an empty ``fromlist`` Python returns the outermost package, here the package of the folder.
            inner = builtins.__import__(f"{package}.{name}", globals, locals, fromlist or ("__name__",), 0)
            return inner if fromlist else sys.modules[f"{package}.{top}"]

        # Python runs the import statements of a module through the __import__ of the module's own __builtins__.
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": import_neighbour}
        super().exec_module(module)


def _folder(name: str) -> _Folder:
    """Return the package of the folder in which the module ``name`` lies."""
    package = sys.modules[name.partition(".")[0]]
    assert isinstance(package, _Folder)
    return package
