"""A user's own Python: ``package.module:NAME`` or ``file.py:NAME``, imported, and called."""

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import ValidationError

from snnconv.core.validation import reason
from snnconv.errors import SnnconvError, UnsupportedError, UsageError, did_you_mean, one_line

Returned = TypeVar("Returned")


def factory(name: str) -> Callable[..., Any]:
    """Return what ``package.module:factory`` or ``file.py:factory`` names.

    Raises:
        UsageError: no such file, module or factory, or one that can't be imported.
    """
    where, _, attribute = name.rpartition(":")
    module = _module(where)
    found = getattr(module, attribute, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise UsageError(
            f"{where} has no factory '{attribute}'",
            "nothing to call",
            did_you_mean(attribute, known) if known else "define a function there that makes it",
        )
    return found  # type: ignore[no-any-return]


def method(name: str, kind: str, installed: bool = False) -> Any:
    """Return the object that ``package.module:NAME`` or ``file.py:NAME`` names.

    Args:
        name: of the object.
        kind: what it is to be, for error messages: ``neuron``.
        installed: whether it is an installed package's, so that the working folder has no say.

    Raises:
        UsageError: no such file, module or object, or one that can't be imported.
    """
    where, _, attribute = name.rpartition(":")
    module = _module(where, installed)
    if not hasattr(module, attribute):
        known = [key for key in vars(module) if not key.startswith("_")]
        raise UsageError(
            f"{where} has no {kind} '{attribute}'",
            "nothing of that name",
            did_you_mean(attribute, known) if known else f"define the {kind} there",
        )
    return getattr(module, attribute)


def factories(file: Path) -> list[str]:
    """Return classes and functions that a file defines; read it, and do not run it.

    Raises:
        UsageError: it is no Python.
    """
    try:
        body = ast.parse(file.read_bytes()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError) as error:
        raise UsageError(
            f"{file} can't be read", one_line(error), "run it with python first"
        ) from error
    classes = [node for node in body if isinstance(node, ast.ClassDef)]
    modules = [n.name for n in classes if any("Module" in ast.unparse(base) for base in n.bases)]
    functions = [n.name for n in body if isinstance(n, ast.FunctionDef)]
    named = [*modules, *functions, *(node.name for node in classes)]
    return [name for name in dict.fromkeys(named) if not name.startswith("_")]


def call(
    maker: Callable[..., Any],
    options: dict[str, Any],
    *,
    spec: str,
    kind: type[Returned],
    what: str,
    returned: str,
) -> Returned:
    """Call a factory and check what it made.

    Args:
        maker: from :func:`factory`.
        options: its keyword arguments.
        spec: what the user named, for error messages.
        kind: the type that it must return.
        what: that in a word, for error messages, e.g. ``network``.
        returned: the type as users import it, e.g. ``torch.nn.Module``.

    Raises:
        UsageError: the options are not its arguments.
        UnsupportedError: it fails, or returns something else.
    """
    try:
        inspect.signature(maker).bind(**options)
    except TypeError as error:
        name = getattr(maker, "__name__", spec)
        raise UsageError(
            f"the options of '{spec}' can't be used", str(error), f"see {name}'s arguments"
        ) from error
    try:
        made = maker(**options)
    except SnnconvError:
        raise
    except ValidationError as error:  # of one of this tool's own models
        raise UnsupportedError(
            f"'{spec}' gives no {what}", reason(error), f"mend it in the function that {spec} names"
        ) from error
    except (Exception, SystemExit) as error:  # whatever the user's factory raises
        raise UnsupportedError(
            f"'{spec}' gives no {what}",
            one_line(error),
            "call it in python first",
        ) from error
    if not isinstance(made, kind):
        raise UnsupportedError(
            f"'{spec}' gives no {what}", f"a {type(made).__name__}", f"return a {returned}"
        )
    return made


def _importable(folder: Path) -> None:
    """Let Python import from a folder, as it does from that of a script it runs."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _module(where: str, installed: bool = False) -> ModuleType:
    if where.endswith(".py"):
        return _python_file(Path(where))
    if not installed:
        _importable(Path.cwd())
    return _python_module(where)


def _python_module(where: str) -> ModuleType:
    try:
        return importlib.import_module(where)
    except ImportError as error:
        raise UsageError(
            f"module '{where}' can't be imported", str(error), "install it, or name file.py:NAME"
        ) from error
    except (Exception, SystemExit) as error:  # whatever the user's module raises
        raise UsageError(
            f"module '{where}' can't be imported",
            one_line(error),
            "import it in python first",
        ) from error


def _python_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise UsageError(f"{file} can't be read", "no such file", "check the path")
    _importable(file.resolve().parent)  # for its imports from the same folder
    # a name of our own: a user's random.py or types.py must not take the place of Python's
    name = f"snnconv_user_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as an import does, so that its classes know their module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's file raises
        del sys.modules[name]
        raise UsageError(
            f"{file} can't be run", one_line(error), "run it with python first"
        ) from error
    return module
