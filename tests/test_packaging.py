"""What ships is what is written: packages, typing markers, public names, extras, and a runtime without torch."""

import ast
import importlib
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from affectrt.cli.dependencies import MODULES

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parent.parent
ROOMS = ("models", "training", "bundle", "export", "calibration", "runtime", "benchmarks", "cli")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = {
    ".".join(("affectrt", *init.parent.relative_to(ROOT).parts)): init
    for room in ROOMS
    for init in sorted((ROOT / room).rglob("__init__.py"))
}


def test_every_folder_of_the_rooms_is_a_package_that_ships() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == set(PACKAGES)
    assert len(PROJECT["tool"]["setuptools"]["packages"]) == len(PACKAGES)
    mapped = PROJECT["tool"]["setuptools"]["package-dir"]
    assert mapped == {f"affectrt.{room}": room for room in ROOMS}


def test_no_module_lies_in_a_folder_without_init() -> None:
    folders = {module.parent for room in ROOMS for module in (ROOT / room).rglob("*.py")}
    assert folders == {init.parent for init in PACKAGES.values()}


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_typed(room: str) -> None:
    assert (ROOT / room / "py.typed").is_file()


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_every_init_says_what_lives_there_and_holds_no_logic(package: str) -> None:
    tree = ast.parse(PACKAGES[package].read_text())
    assert ast.get_docstring(tree), f"{package} does not say what lives in it"
    for node in tree.body[1:]:
        names_all = isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["__all__"]
        assert isinstance(node, ast.ImportFrom) or names_all, ast.unparse(node)


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_public_names_are_there(package: str) -> None:
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("affectrt"):
            raise
        pytest.skip(f"{package} needs {error.name}")
    names = getattr(module, "__all__", [])
    assert len(names) == len(set(names))
    for name in names:
        assert getattr(module, name) is not None


def test_the_console_script_is_our_main() -> None:
    (script,) = entry_points(group="console_scripts", name="affectrt")
    assert script.load() is importlib.import_module("affectrt.cli.main").main


def test_the_table_of_extras_is_that_of_the_project_file() -> None:
    def names(requirements: list[str]) -> set[str]:
        wanted = [r for r in requirements if "python_version < '3.11'" not in r or sys.version_info < (3, 11)]
        found = {re.split(r"[<>=~!;\[ ]", r)[0] for r in wanted}
        return found - {"affectrt"}

    extras = PROJECT["project"]["optional-dependencies"]
    written = {"": names(PROJECT["project"]["dependencies"])} | {
        extra: names(extras[extra]) for extra in extras if extra not in {"test", "dev"}
    }
    assert {extra: set(modules.values()) for extra, modules in MODULES.items()} == written


def test_no_test_is_skipped_for_a_package_that_setup_could_have_brought() -> None:
    extras = PROJECT["project"]["optional-dependencies"]

    def brought(extra: str) -> set[str]:
        inner = re.findall(r"affectrt\[(.*?)\]", " ".join(extras[extra]))
        direct = {re.split(r"[<>=~!;\[ ]", requirement)[0] for requirement in extras[extra]}
        return direct | {*MODULES.get(extra, ())}.union(*(brought(name) for part in inner for name in part.split(",")))

    asked = {
        name: path.name
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for name in re.findall(r'importorskip\("(\w+)"', path.read_text())
    }
    assert {"torch", "vosk", "sherpa_onnx"} <= set(asked)
    given = brought("dev") | set(MODULES[""]) | {"gi"}  # gi comes with the distribution
    assert {name: where for name, where in asked.items() if name not in given} == {}


def test_the_runtime_and_its_verbs_run_without_torch_and_onnx() -> None:
    modules = [
        ".".join(("affectrt", *path.relative_to(ROOT).with_suffix("").parts))
        for room in ("bundle", "runtime")
        for path in sorted((ROOT / room).rglob("*.py"))
    ]
    verbs = ["main", "run", "inspect", "verify", "build", "doctor", "bench"]
    script = f"""
import importlib, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "onnx", "onnxscript", "safetensors"):
            raise ModuleNotFoundError(f"{{name}} must not be imported here", name=name)
sys.meta_path.insert(0, Blocker())
for name in {modules + [f"affectrt.cli.{verb}" for verb in verbs]!r}:
    importlib.import_module(name.removesuffix(".__init__"))
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_no_file_names_a_machine_or_somebodys_folder() -> None:
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    folder = re.compile(r"(?<![\w.~$}/-])/(?:home|root|work|Users|tmp/w)/")
    address = re.compile(r"\b(?:10\.\d+|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d+\.\d+\b")
    # Versions of TensorRT 10 read like addresses of a private network.
    versions = {"10.3.0.30", "10.7.0.23", "10.13.3.9", "10.14.1.48", "10.16.1.11", "10.16.2.10"}
    guilty = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path == Path(__file__) or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        guilty += [
            f"{name}:{number}: {line.strip()}"
            for number, line in enumerate(text.splitlines(), 1)
            if folder.search(line) or set(address.findall(line)) - versions
        ]
    assert guilty == []
