"""The house's rules: who may import whom, how long a file is, what a docstring has."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from snnconv.core.registry import REGISTRIES

PACKAGE = Path(__file__).parent.parent / "snnconv"
LONGEST = 400

LAYERS = (
    ("errors",),
    ("core",),
    ("config", "reports"),
    ("render",),
    ("tasks",),
    ("graph",),
    ("neurons",),
    ("checkpoint",),
    ("data", "zoo"),
    ("frontends",),
    ("engine",),
    ("calibration", "metrics"),
    ("simulation",),
    ("corrections",),
    ("training", "exports", "fitting"),
    ("traces",),
    ("testing",),
    ("stages",),
    ("comparison",),
    ("pipeline",),
    ("api",),
    ("cli",),
    ("__main__",),
)
"""Rooms and single files; one imports of those above its own line only, and of its own room."""

TORCH_FREE = ("errors", "config", "reports", "render", "cli")
TORCH_FREE += tuple(f"core.{name}" for name in ("bounds", "interruption", "kinds", "metadata"))
TORCH_FREE += ("core.names", "core.packages", "core.uncertainty", "core.scores")
TORCH_FREE += ("core.progress", "core.registry", "core.validation", "stages.listing")
HEAVY = ("torch", "torchvision", "numpy", "sklearn", "safetensors", "numba")

BROAD = {
    "errors.py": 1,  # the guard: what no other place has words for
    "graph/network.py": 1,  # wrong attributes of an operation: whatever torch raises
    "frontends/torch/capture.py": 4,  # a user's forward, run, watched, traced and exported
    "data/datasets/folder.py": 1,  # a foreign image file
    "data/objects/loaders.py": 1,  # a stream of the user's
    "data/objects/parts.py": 1,  # a user's data set, asked for a sample
    "core/user_code.py": 3,  # a user's factory, module and file
    "testing/base.py": 1,  # a user's method, asked for a law
    "frontends/weights.py": 1,  # a foreign weights file
    "exports/parts/nir_peers.py": 1,  # foreign simulators on a file
    "exports/parts/nir_run.py": 1,  # a foreign reader of a file
    "exports/onnx.py": 1,  # a foreign runtime on a file
    "exports/spikingjelly.py": 1,  # a foreign library on a file
    "frontends/onnx/crosscheck.py": 1,  # a foreign runtime on a foreign file
    "frontends/pt2/importer.py": 1,  # operators of a foreign file on what it gives them
}
"""Where any exception of foreign code becomes an error with a remedy, and how often."""

METHODS = {registry.package: registry.attribute for registry in REGISTRIES.values()}
"""Folders of methods, and the name that makes a file one."""
SECTIONS = ("Shape:", "Reference:", "Deviations:")


def name_of(file):
    """``graph/ir.py -> graph.ir``."""
    name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix(".__init__")


FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {name_of(file): ast.parse(file.read_text(encoding="utf-8")) for file in FILES}
MODULES = set(TREES) - {"__init__"}


def imports(name, everywhere=True):
    """The package's own modules that one imports, and the other packages.

    Args:
        name: of the module.
        everywhere: inside functions, too.
    """
    own, foreign = set(), set()
    tree = TREES[name]
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            named = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        else:
            continue
        for full in named:
            package, _, rest = full.partition(".")
            if package != "snnconv":
                foreign.add(package)
            elif rest in MODULES:
                own.add(rest)
    return own - {name}, foreign


def room(module):
    return module.partition(".")[0]


def level(module):
    (found,) = [i for i, rooms in enumerate(LAYERS) if room(module) in rooms]
    return found


# Who imports whom


def test_the_table_has_every_room_and_no_other():
    rooms = [name for layer in LAYERS for name in layer]
    assert len(rooms) == len(set(rooms))
    assert set(rooms) == {room(module) for module in MODULES}


def test_the_page_and_its_picture_have_every_room():
    folder = PACKAGE.parent / "docs" / "developer"
    rooms = {name for layer in LAYERS for name in layer} - {"__main__"}
    for page in ("architecture.md", "architecture.svg"):
        text = (folder / page).read_text(encoding="utf-8")
        named = set(re.findall(r"[>`](\w+)/?[<` ]", text))
        assert rooms - named == set(), page


def test_the_page_names_files_that_exist():
    page = (PACKAGE.parent / "docs" / "developer" / "architecture.md").read_text(encoding="utf-8")
    table = page[page.index("### Where is") : page.index("### Why there")]
    files = re.findall(r"`([\w/]+\.py)`", table)
    assert len(files) > 15
    assert [file for file in files if not (PACKAGE / file).is_file()] == []


def test_imports_go_one_way():
    wrong = [
        f"{module} imports {name}"
        for module in sorted(MODULES)
        for name in imports(module)[0]
        if room(name) != room(module) and level(name) >= level(module)
    ]
    assert not wrong, "these stand beside it or behind it"


def test_there_are_no_cycles():
    graph = {module: imports(module)[0] - {room(module)} for module in MODULES}
    left = dict(graph)
    while free := [module for module, own in left.items() if not own & set(left)]:
        for module in free:
            del left[module]
    assert not left, f"imports in a circle: {sorted(left)}"


def test_stages_do_not_know_each_other():
    for module in MODULES:
        if module.startswith("stages."):
            own, _ = imports(module)
            assert {name for name in own if name.startswith("stages.")} <= {
                "stages.doubts",
                "stages.session",
                "stages.run_folder",
                "stages.outputs",
                "stages.samples",
                "stages.advance",
            }, module


def is_method(module):
    """Whether a module of a folder of methods is one: it assigns the folder's name for them."""
    folder, _, _ = module.rpartition(".")
    named = [
        target.id
        for node in TREES[module].body
        for target in getattr(node, "targets", [getattr(node, "target", None)])
        if isinstance(target, ast.Name)
    ]
    return METHODS.get(folder) in named


def test_methods_do_not_know_each_other():
    """Adding one, or taking one out, touches no other; what several share is no method."""
    for module in filter(is_method, MODULES):
        folder, _, _ = module.rpartition(".")
        siblings = {name for name in imports(module)[0] if name.rpartition(".")[0] == folder}
        assert not list(filter(is_method, siblings)), module


def test_attributes_of_nodes_are_read_and_written_with_their_types():
    """As records, by ``attributes``: a misspelt name is an error of the type checker.

    Front ends read the attributes of foreign operators; the rows of a module file are held to the
    records by a test of their own.
    """

    def untyped(node):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return node.func.id == "Node" and any(
                isinstance(argument, ast.Dict) and argument.keys for argument in node.args[:4]
            )
        read = isinstance(node, ast.Subscript) or getattr(node, "attr", "") in ("get", "items")
        return read and isinstance(node.value, ast.Attribute) and node.value.attr == "attrs"

    readers = {m for m, tree in TREES.items() if any(map(untyped, ast.walk(tree)))}
    assert {module for module in readers if room(module) != "frontends"} == {
        "exports.parts.torch_calls"
    }


def test_only_the_checkpoint_knows_safetensors():
    users = {module for module in MODULES if "safetensors" in imports(module)[1]}
    assert users <= {"checkpoint.file", "frontends.weights"}


# Torch, which takes seconds to import


def test_what_is_to_be_quick_names_no_torch():
    for module in MODULES:
        if {room(module), module} & set(TORCH_FREE):
            assert not imports(module, everywhere=False)[1] & set(HEAVY), module


RARE = {"torchvision", "onnx", "soundfile"}


def test_packages_that_few_need_are_imported_where_they_are_used():
    """A torchvision that does not fit torch, or a missing one, breaks its own users only."""
    for module in MODULES:
        assert not imports(module, everywhere=False)[1] & RARE, module
        assert "sklearn" not in imports(module)[1], module


def test_what_is_to_be_quick_imports_no_torch():
    quick = sorted(
        f"snnconv.{module}" for module in MODULES if {room(module), module} & set(TORCH_FREE)
    )
    code = f"import importlib, sys\nfor name in {HEAVY}: sys.modules[name] = None\n"
    code += f"for name in {quick}: importlib.import_module(name)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


# Files


def test_files_are_short():
    lengths = {name_of(file): len(file.read_text("utf-8").splitlines()) for file in FILES}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_the_engine_stays_small():
    """Fast paths are what a reader least wants to read: a new one has to be worth its lines."""
    engine = [file for file in FILES if name_of(file).startswith("engine")]
    assert sum(len(file.read_text("utf-8").splitlines()) for file in engine) < 3200


def broad(handler):
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return handler.type is None or any(
        isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException") for kind in caught
    )


def test_exceptions_are_caught_by_name():
    found = {}
    for file in FILES:
        handlers = [n for n in ast.walk(TREES[name_of(file)]) if isinstance(n, ast.ExceptHandler)]
        if count := sum(broad(handler) for handler in handlers):
            found[str(file.relative_to(PACKAGE))] = count
        for handler in handlers:
            assert not all(isinstance(node, ast.Pass) for node in handler.body), file
    assert found == BROAD


def test_files_take_no_shortcuts():
    for name, tree in TREES.items():
        nodes = list(ast.walk(tree))
        assert not any(isinstance(node, ast.Global) for node in nodes), f"{name}: a global"
        used = {node.id for node in nodes if isinstance(node, ast.Name)}
        used |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        assert not used & {"TYPE_CHECKING", "__class__"}, name


def public(tree, place):
    """Every public class and function of a module, methods included, but no mere signature."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and "overload" in map(
            ast.unparse, node.decorator_list
        ):
            continue
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield f"{place}.{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{place}.{node.name}")


def test_what_is_public_is_documented():
    lacking = [module for module, tree in TREES.items() if not ast.get_docstring(tree)]
    for module, tree in TREES.items():
        lacking += [name for name, node in public(tree, module) if not ast.get_docstring(node)]
    assert not lacking


@pytest.mark.parametrize("where", METHODS)
def test_a_method_says_its_shape_its_source_and_where_it_departs(where):
    methods = [m for m in MODULES if m.rpartition(".")[0] == where and is_method(m)]
    assert methods
    for module in methods:
        text = ast.get_docstring(TREES[module])
        places = [text.find(f"\n{section}") for section in SECTIONS]
        assert -1 not in places, f"{module}: {SECTIONS[places.index(-1)]} is missing"
        assert places == sorted(places), f"{module}: sections in another order"
        for section in SECTIONS:
            assert re.search(rf"^{section}\s*\S", text, re.M), f"{module}: {section} is empty"


def test_methods_are_cited_by_a_heading():
    """``Methods: "Counting"`` is a section of the page on methods."""
    page = (PACKAGE.parent / "docs/reference/methods.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^#+ (.*)$", page, re.M))
    cited = {
        (module, heading)
        for module, file in zip(TREES, FILES, strict=True)
        for heading in re.findall(r'Methods: "([^"]*)"', file.read_text(encoding="utf-8"))
    }
    assert {heading for _, heading in cited} <= headings, cited
    assert len(cited) >= 5
    numbered = re.compile(r"\b[Mm]ethods,? (at )?section")
    assert not [f.name for f in FILES if numbered.search(f.read_text(encoding="utf-8"))]


def test_no_file_knows_a_machine():
    root = PACKAGE.parent
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split("\0")
    # an unpacked archive has no git
    files = [root / name for name in listed if name] or [*PACKAGE.rglob("*.*")]
    folders = "|".join(("work", "tmp", "root", "home"))
    path = re.compile(rf"(?<![\w.~/])/({folders})/\w")
    for file in files:
        if file.is_file() and file.suffix in (".py", ".md", ".toml", ".html", ".json", ".css", ""):
            text = file.read_text(encoding="utf-8", errors="replace")
            assert not path.search(text), f"{file.relative_to(root)}: {path.search(text).group()}"


# Tests

TESTS = sorted(Path(__file__).parent.rglob("*.py"))
CONSTANT = re.compile("_[A-Z][A-Z0-9_]+")
PRIVATE = re.compile(r"(.*\.)?_[A-Za-z]\w*")


def replaced(tree):
    """What a test puts something else in place of: by ``setattr``, ``patch``, an assignment."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            called = node.func.id if isinstance(node.func, ast.Name) else called
            if called in ("setattr", "delattr", "patch", "object"):
                texts = [arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant)]
                yield from (text for text in texts if isinstance(text, str))
        elif isinstance(node, ast.Assign):
            for target in [part for each in node.targets for part in ast.walk(each)]:
                stored = isinstance(target, ast.Attribute) and isinstance(target.ctx, ast.Store)
                if stored and ast.unparse(target.value) not in ("self", "cls"):
                    yield target.attr


def private_constants(tree):
    """Constants that a test reads and that are not for others."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if CONSTANT.fullmatch(alias.name))
        elif isinstance(node, ast.Attribute) and CONSTANT.fullmatch(node.attr):
            yield node.attr


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('monkeypatch.setattr(runtime, "_MEMINFO", None)', ["_MEMINFO"]),
        ('monkeypatch.setattr("snnconv.calibration.histogram._CHUNK", 64)', ["_CHUNK"]),
        ('mock.patch.object(statistic, "_compiled", None)', ["_compiled"]),
        ("made._most = made.room = 3", ["_most"]),
        ("self._label = 3", []),
        ('monkeypatch.setattr(os, "fsync", None)', []),
    ],
)
def test_what_counts_as_private(line, found):
    names = [name for name in replaced(ast.parse(line)) if PRIVATE.fullmatch(name)]
    assert [name.rpartition(".")[2] for name in names] == found


def test_tests_reach_for_nothing_private():
    """A function that a test has to steer takes an argument."""
    found = {}
    for file in TESTS:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = [name for name in replaced(tree) if PRIVATE.fullmatch(name)]
        if names := names + list(private_constants(tree)):
            found[file.name] = names
    assert found == {}
