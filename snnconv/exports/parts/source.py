"""The source of definitions and of all that they refer to, as one file that stands alone.

What a neuron computes is stated once, in its own file, in plain torch. An exported file takes those
lines as they are, and leaves out what they do not reach: methods that nobody calls, checks of
types, and what makes a function faster without changing what it gives. Adding a neuron touches no
exporter.

Rules for code that is to be exported: it is at the top level of its module, it reads its parameters
from ``self.params``, and it imports Python's own modules, torch, and this package only. A decorator
from this package is left out, an error of this package becomes a ``ValueError``.
"""

import ast
import builtins
import functools
import importlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from snnconv import errors
from snnconv.core.registry import PACKAGE

Key = tuple[str, str]
"""A module, and the name of a definition in it."""

_OUTSIDE = (*sys.stdlib_module_names, "torch")
_DROPPED_BASES = ("ABC", "Generic")
_ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type)}


class UnreadableSourceError(Exception):
    """Code that can't be used into a file; says why."""


@dataclass(frozen=True)
class Import:
    """A name from Python's own modules or torch."""

    module: str
    name: str
    alias: str

    def called(self) -> str:
        """Return what is imported, and the name that it has here."""
        own = self.name or self.module
        return own if self.alias == own else f"{own} as {self.alias}"

    def line(self) -> str:
        """Return the statement of a module."""
        return f"import {self.called()}"


@dataclass(frozen=True)
class Source:
    """A module's source: its lines, and what its top level defines and imports, by name."""

    name: str
    lines: tuple[bytes, ...]
    definitions: Mapping[str, ast.stmt]
    imports: Mapping[str, Import]
    docstring: str

    def resolve(self, name: str) -> "Key | Import | None":
        """Find where a name comes from; None for a local variable or a built-in name."""
        if name in self.definitions:
            return self.name, name
        found = self.imports.get(name)
        if found is None:
            return None
        if found.module.partition(".")[0] == PACKAGE and found.name:
            return source(found.module).resolve(found.name)
        return found


@functools.cache
def source(module: str) -> Source:
    """Read a module's source.

    Raises:
        UnreadableSourceError: it has no file.
    """
    file = getattr(sys.modules.get(module) or importlib.import_module(module), "__file__", None)
    if file is None or not Path(file).is_file():
        raise UnreadableSourceError(f"{module}, whose source is not in a file")
    text = Path(file).read_text(encoding="utf-8")
    tree = ast.parse(text)
    definitions: dict[str, ast.stmt] = {}
    imports: dict[str, Import] = {}
    for node in tree.body:
        match node:
            case ast.ClassDef() | ast.FunctionDef():
                definitions[node.name] = node
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    for each in ast.walk(target):
                        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                            definitions[each.id] = node  # not of `name[key] = value`
            case ast.Import():
                for alias in node.names:
                    named = alias.asname or alias.name
                    imports[named.partition(".")[0]] = Import(alias.name, "", named)
            case ast.ImportFrom():
                for alias in node.names:
                    named = alias.asname or alias.name
                    imports[named] = Import(node.module or "", alias.name, named)
    lines = tuple(text.encode().splitlines(keepends=True))
    return Source(module, lines, definitions, imports, ast.get_docstring(tree) or "")


@dataclass
class Standalone:
    """Definitions that stand alone.

    Args:
        roots: what is wanted.
        members: names of methods and attributes that are used from outside.
        given: the text of definitions that are written in another way.
    """

    roots: tuple[Key, ...]
    members: frozenset[str]
    given: Mapping[Key, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return the definitions, each behind what it refers to.

        Raises:
            UnreadableSourceError: two have one name.
        """
        text, before = "", False
        for key in self.kept:
            constant = isinstance(self._of(key)[1], ast.Assign | ast.AnnAssign)
            text += ("\n" if constant and before else "\n\n\n") * bool(text) + self._text_of(key)
            before = constant
        return text

    def imports(self) -> set[Import]:
        """Return what they import.

        Raises:
            UnreadableSourceError: another package than torch.
        """
        return {each for key in self.kept for each in self._imports_of(key)}

    @functools.cached_property
    def accessed(self) -> frozenset[str]:
        """Every name of an attribute that what is kept uses."""
        known = self.members
        while True:
            nodes = [n for key in self._reachable(known) for n in _kept(*self._of(key), known)]
            found = frozenset[str]().union(*map(_attributes, nodes))
            if found <= known:
                return known
            known |= found

    @functools.cached_property
    def kept(self) -> list[Key]:
        """Every definition, each after those that it refers to."""
        return self._reachable(self.accessed)

    def _of(self, key: Key) -> tuple[Source, ast.stmt | None]:
        if key in self.given:
            return source(key[0]), None
        return source(key[0]), source(key[0]).definitions[key[1]]

    def _reachable(self, accessed: frozenset[str]) -> list[Key]:
        """Sort depth first, so that each comes behind what it refers to."""
        found: dict[Key, None] = {}
        named: dict[str, Key] = {}

        def visit(key: Key, path: tuple[Key, ...]) -> None:
            if key in found or key in path:
                return
            if named.setdefault(key[1], key) != key:
                raise UnreadableSourceError(
                    f"two definitions of '{key[1]}', in {named[key[1]][0]} and in {key[0]}"
                )
            origin, node = self._of(key)
            for name in _references(origin, node, accessed):
                other = origin.resolve(name)
                if isinstance(other, tuple):
                    visit(other, (*path, key))
            found[key] = None

        for root in self.roots:
            visit(root, ())
        return list(found)

    def _imports_of(self, key: Key) -> Iterator[Import]:
        origin, node = self._of(key)
        names = set(_references(origin, node, self.accessed))
        if node is not None:
            for kept in _kept(origin, node, self.accessed):
                names |= {each.id for each in _annotated(kept)}
        for name in names:
            found = origin.resolve(name)
            if isinstance(found, Import):
                if found.module.partition(".")[0] not in _OUTSIDE:
                    raise UnreadableSourceError(f"'{name}' of the package {found.module}")
                yield found

    def _text_of(self, key: Key) -> str:
        if key in self.given:
            return self.given[key]
        origin, node = self._of(key)
        assert node is not None
        if not isinstance(node, ast.ClassDef):
            return self._excerpt(origin, node)
        bases = [ast.unparse(base) for base in _bases(origin, node)]
        header = f"class {node.name}({', '.join(bases)}):" if bases else f"class {node.name}:"
        parts, last = [header], "doc"
        for member in _members(origin, node, self.accessed):
            kind = {ast.Expr: "doc", ast.FunctionDef: "method"}.get(type(member), "attribute")
            gap = "\n" if len(parts) > 1 and (kind, last) != ("attribute", "attribute") else ""
            parts.append(gap + self._excerpt(origin, member))
            last = kind
        if len(parts) == 1:
            parts.append("    pass")
        return "\n".join(parts)

    def _excerpt(self, origin: Source, node: ast.stmt) -> str:
        """Return a statement's lines and the comments above it, without what can't stand alone."""
        start, end = node.lineno, node.end_lineno or node.lineno
        decorators = getattr(node, "decorator_list", [])
        gone: set[int] = set()
        for decorator in decorators:
            start = min(start, decorator.lineno)
            if isinstance(origin.resolve(_head(decorator)), tuple):
                gone |= set(range(decorator.lineno, (decorator.end_lineno or 0) + 1))
        while start > 1 and origin.lines[start - 2].lstrip().startswith(b"#"):
            start -= 1
        lines = {k: origin.lines[k - 1] for k in range(start, end + 1) if k not in gone}
        kept = {key[1] for key in self.kept}
        edits = [(each, "Any") for each in _annotated(node) if self._foreign(origin, each.id, kept)]
        edits += [(each, "ValueError") for each in _raised(origin, node)]
        for name, text in sorted(edits, key=lambda edit: edit[0].col_offset, reverse=True):
            line = lines[name.lineno]
            lines[name.lineno] = (
                line[: name.col_offset] + text.encode() + line[name.end_col_offset :]
            )
        return b"".join(lines.values()).decode().rstrip()

    @staticmethod
    def _foreign(origin: Source, name: str, kept: set[str]) -> bool:
        """Whether an annotation's name would mean nothing in the file."""
        found = origin.resolve(name)
        return isinstance(found, tuple) and found[1] not in kept


def _head(node: ast.expr) -> str:
    """Return the first name of ``a.b(c)``."""
    while not isinstance(node, ast.Name):
        following = getattr(node, "func", None) or getattr(node, "value", None)
        if following is None:
            return ""
        node = following
    return node.id


def _bases(origin: Source, node: ast.ClassDef) -> list[ast.expr]:
    """Return the bases without those that tell something only to a type checker."""
    plain = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
    return [base for base in plain if ast.unparse(base) not in _DROPPED_BASES]


def _members(origin: Source, node: ast.ClassDef, accessed: frozenset[str]) -> Iterator[ast.stmt]:
    """Return what is kept of a class: all, if torch or Python use it in ways of their own."""
    own = [base for base in _bases(origin, node) if isinstance(origin.resolve(_head(base)), tuple)]
    whole = len(own) < len(_bases(origin, node)) and not _is_module(node)
    for member in node.body:
        match member:
            case ast.FunctionDef(name=name):
                abstract = any(_head(d) == "abstractmethod" for d in member.decorator_list)
                # which class is made is known by now: `__new__` has chosen
                used = name != "__new__" and (name in accessed or hasattr(nn.Module, name))
                if not abstract and (whole or used):
                    yield member
            case ast.AnnAssign(target=ast.Name(id=name)):
                if whole or name in accessed:
                    yield member
            case ast.Assign(targets=[ast.Name(id=name)]):
                if whole or name in accessed:
                    yield member
            case ast.Expr(value=ast.Constant()):
                if member is node.body[0]:
                    yield member
            case _:
                yield member


def _is_module(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base) in ("nn.Module", "Module") for base in node.bases)


def _kept(origin: Source, node: ast.stmt | None, accessed: frozenset[str]) -> Iterator[ast.stmt]:
    """Return the statements that are kept of a definition."""
    if isinstance(node, ast.ClassDef):
        yield from _members(origin, node, accessed)
    elif node is not None:
        yield node


def _references(origin: Source, node: ast.stmt | None, accessed: frozenset[str]) -> Iterator[str]:
    """Return the names that a definition needs when it runs."""
    if node is None:
        return
    if isinstance(node, ast.ClassDef):
        for base in _bases(origin, node):
            yield _head(base)
    for kept in _kept(origin, node, accessed):
        yield from _names(origin.name, kept)


@functools.cache
def _names(module: str, kept: ast.stmt) -> tuple[str, ...]:
    """Return the names that a statement of a module needs when it runs."""
    origin = source(module)
    skipped = {id(name) for name in (*_annotated(kept), *_raised(origin, kept))}
    for decorator in getattr(kept, "decorator_list", []):
        if isinstance(origin.resolve(_head(decorator)), tuple):
            skipped |= {id(each) for each in ast.walk(decorator)}
    return tuple(
        each.id for each in ast.walk(kept) if isinstance(each, ast.Name) and id(each) not in skipped
    )


@functools.cache
def _attributes(kept: ast.stmt) -> frozenset[str]:
    """Return the attributes that a statement uses."""
    return frozenset(each.attr for each in ast.walk(kept) if isinstance(each, ast.Attribute))


def _annotated(node: ast.stmt) -> list[ast.Name]:
    """Return the names in annotations, which nothing needs when it runs."""
    annotations: list[ast.expr | None] = []
    for each in ast.walk(node):
        match each:
            case ast.FunctionDef():
                annotations.append(each.returns)
            case ast.arg() | ast.AnnAssign():
                annotations.append(each.annotation)
    return [
        name
        for annotation in annotations
        if annotation is not None
        for name in ast.walk(annotation)
        if isinstance(name, ast.Name)
    ]


def _raised(origin: Source, node: ast.stmt) -> list[ast.Name]:
    """Return the names of this package's errors where they are raised."""
    return [
        each.exc.func
        for each in ast.walk(node)
        if isinstance(each, ast.Raise)
        and isinstance(each.exc, ast.Call)
        and isinstance(each.exc.func, ast.Name)
        and each.exc.func.id in _ERRORS
        and not hasattr(builtins, each.exc.func.id)
    ]
