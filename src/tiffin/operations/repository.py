"""Load a feature repository: import its Python files and collect the definitions that they make.

Within a repository ``import other_file`` works as if it were run from its folder. Afterwards the process has the
modules that it had before, so that two repositories that are loaded one after the other never get each other's.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tiffin.compat.finder import feast_means_tiffin
from tiffin.definitions import BaseFeatureView, DataSource, Definition, Entity, FeatureService, Permission, Project
from tiffin.errors import RepositoryError, TiffinError

IGNORE_FILES = (".tiffinignore", ".feastignore")
_COLLECTED = (Project, Entity, DataSource, BaseFeatureView, FeatureService, Permission)

#: ``sys.path`` and ``sys.modules`` belong to the whole process: one repository is loaded at a time.
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Repository:
    """What a feature repository declares.

    Attributes:
        path: its folder.
        files: the files that were imported, sorted.
        objects: the definitions at the top level of these files, each once, in order of appearance.
        project: the project, when one is declared.
    """

    path: Path
    files: tuple[Path, ...]
    objects: tuple[Definition, ...]
    project: Project | None = None


def load_repository(repo_path: str | Path) -> Repository:
    """Import every Python file of a folder and collect the definitions at their top level.

    Left out are ``__init__.py``, hidden folders, virtual environments and what ``.tiffinignore`` lists (one pattern
    per line, such as ``test_*.py`` or ``notebooks/**``).

    Raises:
        RepositoryError: a file cannot be imported (names file and line; the user's own error is the cause), or two
            projects are declared.
    """
    root = Path(repo_path).expanduser().resolve()
    if not root.is_dir():
        raise RepositoryError(f"there is no folder {root}", hint="pass the folder that has feature_store.yaml")
    files, folders = _search(root)
    found: dict[int, Definition] = {}
    with _LOCK, _importing_from(root, folders):
        for file in files:
            for value in list(vars(_import(file, root)).values()):
                if isinstance(value, _COLLECTED):
                    found.setdefault(id(value), value)
    objects = tuple(found.values())
    projects = [item for item in objects if isinstance(item, Project)]
    if len(projects) > 1:
        first, second = projects[:2]
        raise RepositoryError(
            f"two projects are declared: {first.name} at {first.location} and {second.name} at {second.location}",
            location=second.location,
            hint="a repository has one project",
        )
    return Repository(root, files, objects, projects[0] if projects else None)


def import_file(file: Path, root: Path) -> ModuleType:
    """Import one file of a repository, as ``load_repository`` does.

    Raises:
        RepositoryError: it cannot be imported; names file and line.
    """
    _, folders = _search(root)
    with _LOCK, _importing_from(root, folders):
        return _import(file, root)


def _search(root: Path) -> tuple[tuple[Path, ...], frozenset[Path]]:
    """The files to import, sorted, and every folder that was searched."""
    patterns = _ignored_patterns(root)
    files, searched = [], []
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        searched.append(here)
        folders[:] = [name for name in folders if _is_searched(here / name, root, patterns)]
        for name in names:
            if name.endswith(".py") and name != "__init__.py" and not _is_ignored(here / name, root, patterns):
                files.append(here / name)
    return tuple(sorted(files)), frozenset(searched)


def _is_searched(folder: Path, root: Path, patterns: list[str]) -> bool:
    if folder.name.startswith(".") or folder.name in ("__pycache__", "site-packages", "node_modules"):
        return False
    return not (folder / "pyvenv.cfg").exists() and not _is_ignored(folder, root, patterns)


def _ignored_patterns(root: Path) -> list[str]:
    patterns = []
    for name in IGNORE_FILES:
        file = root / name
        if file.is_file():
            lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
            patterns += [line.strip("/") for line in lines if line.strip("/")]
    return patterns


def _is_ignored(path: Path, root: Path, patterns: list[str]) -> bool:
    relative = path.relative_to(root).as_posix()
    parents = ["/".join(relative.split("/")[:depth]) for depth in range(1, relative.count("/") + 2)]
    return any(
        fnmatch.fnmatchcase(part, pattern)
        or fnmatch.fnmatchcase(part, pattern.removeprefix("**/"))
        or fnmatch.fnmatchcase(part.rpartition("/")[2], pattern)
        for pattern in patterns
        for part in parents
    )


@contextmanager
def _importing_from(root: Path, folders: frozenset[Path]) -> Iterator[None]:
    """Let the files of a repository import one another; afterwards the process's modules are as they were.

    Modules with the names of the repository's files are set aside meanwhile: they belong to somebody else, or are older
    copies. Those of the standard library stay, because everything depends on them.
    """
    own = {path.stem for path in root.glob("*.py")} | {folder.name for folder in folders if folder.parent == root}
    own -= sys.stdlib_module_names
    aside = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in own}
    writes_bytecode = sys.dont_write_bytecode
    for name in aside:
        del sys.modules[name]
    before = set(sys.modules)
    sys.path.insert(0, str(root))
    # Bytecode is found by a time in whole seconds; a file that was written twice within one would be taken for old.
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        with feast_means_tiffin():
            yield
    finally:
        sys.dont_write_bytecode = writes_bytecode
        sys.path.remove(str(root))
        for name in [name for name, item in sys.modules.items() if name not in before and _is_from(item, folders)]:
            del sys.modules[name]
        sys.modules.update(aside)


def _is_from(module: ModuleType, folders: frozenset[Path]) -> bool:
    """Whether a module came from one of the folders."""
    file = getattr(module, "__file__", None)
    if file:
        return Path(file).parent in folders
    return any(Path(place) in folders for place in list(getattr(module, "__path__", ())))


def _import(file: Path, root: Path) -> ModuleType:
    """Import a file under the name that other files of the repository import it by, where it can have that name.

    Raises:
        RepositoryError: it cannot be imported; an error of tiffin itself is raised as it is, it names the place.
    """
    parts = file.relative_to(root).with_suffix("").parts
    try:
        if parts[0] not in sys.stdlib_module_names and not any("." in part for part in parts):
            module = importlib.import_module(".".join(parts))
            if Path(str(module.__file__)) == file:
                return module
        return _import_alone(file)
    except TiffinError:
        raise
    except (Exception, SystemExit) as error:
        raise RepositoryError(
            f"{_shown(file)} cannot be imported: {type(error).__name__}: {error}",
            subject=f"file {_shown(file)}",
            location=_place(error, file, root),
            hint=_missing_import(error, root) or "correct the file, or list it in .tiffinignore",
        ) from error


def _missing_import(error: BaseException, root: Path) -> str:
    """The import that would bring a name that is not defined; empty where no file of the repository has it."""
    if not isinstance(error, NameError) or not error.name:
        return ""
    for file in _search(root)[0]:
        if re.search(rf"^{re.escape(error.name)} *[:=]", file.read_text(encoding="utf-8", errors="replace"), re.M):
            module = ".".join(file.relative_to(root).with_suffix("").parts)
            return f"add: from {module} import {error.name}"
    return ""


def _import_alone(file: Path) -> ModuleType:
    """Import a file under a name that nothing else has."""
    name = f"_tiffin_{hashlib.blake2b(str(file).encode(), digest_size=8).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _place(error: BaseException, file: Path, root: Path) -> str:
    """``file:line`` of the innermost line of the repository that the error went through."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{_shown(Path(error.filename))}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if frame.filename.startswith(str(root) + os.sep)]
    if not inside:
        return _shown(file)
    return f"{_shown(Path(inside[-1].filename))}:{inside[-1].lineno}"


def _shown(file: Path) -> str:
    """The path as a person would type it from here, when it lies below the working directory."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)
