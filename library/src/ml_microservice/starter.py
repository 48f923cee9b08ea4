"""Ejecting the example: its code goes, the blank starter's comes, and what the user wrote stays.

Example code stands between `# Example` and `# End Example` (`<!-- Example -->` in Markdown). The starters that this
package carries have the same files with the same blocks. Where all blocks of a project's file are still those of an
example, the blank starter's take their place; a file with a changed block belongs to the user and is left alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_microservice.errors import Fault, ServiceError

STARTERS = Path(__file__).parent / "starters"
"""One folder for each starter, laid out as a project is."""
BLANK = "blank"
STRIPPED = ("config.yaml", "README.md")
"""Files that no starter has: their example blocks go, and nothing comes instead."""
LOADER = "src/model/data_loader.py"
DATA = "src/model/data"
DATA_MARK = "<!-- Example data:"
"""How the first line of the data folder's `README.md` begins, while the data is the example's; its files follow."""
BEGIN = ("# Example", "<!-- Example -->")
END = ("# End Example", "<!-- End Example -->")


@dataclass(frozen=True)
class EjectReport:
    """What became of the project's files, named relative to the project."""

    changed: tuple[str, ...]
    """Files whose example blocks were replaced or removed."""
    kept: tuple[str, ...]
    """Files that are yours by now and were left alone, each with the reason."""
    removed: tuple[str, ...]
    """The example's files and folders that are gone."""

    def __str__(self) -> str:
        rows = [("changed", self.changed), ("kept", self.kept), ("removed", self.removed)]
        return "\n".join(f"{what:8} {name}" for what, names in rows for name in names)


def eject_example(root: Path, starters: Path = STARTERS) -> EjectReport:
    """Make the project in `root` what it would be, had it been started from the blank starter.

    Raises:
        ServiceError: no example is left, or a marker has lost its other half. Nothing was changed then.
    """
    texts, kept = _plan(root, starters)
    if not texts:
        advice = "only an example block that nobody has changed is replaced, and this project has none"
        raise ServiceError(Fault("there is no example to eject", advice=advice))
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8")
    removed, kept_data = _remove_data(root / DATA, is_read=LOADER not in texts)
    return EjectReport(tuple(texts), (*kept, *kept_data), tuple(removed))


def _plan(root: Path, starters: Path) -> tuple[dict[str, str], list[str]]:
    """The new texts of all files that change, and the files to keep with the reason."""
    texts: dict[str, str] = {}
    kept: list[str] = []
    faults: list[Fault] = []
    for name in (*_files(starters / BLANK), *STRIPPED):
        if not (root / name).is_file():
            kept.append(f"{name}: you removed it")
            continue
        try:
            lines, blocks = _read(root / name, name)
        except ServiceError as error:
            faults += error.faults
            continue
        replacements = _replacements(starters, name, [lines[block] for block in blocks])
        if replacements is None:
            kept.append(f"{name}: yours, its example blocks are changed or gone")
        elif blocks:
            texts[name] = _replaced(lines, blocks, replacements)
    if faults:
        raise ServiceError(*faults)
    return texts, kept


def _files(folder: Path) -> list[str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    return [path.relative_to(folder).as_posix() for path in files]


def _replacements(starters: Path, name: str, contents: list[list[str]]) -> list[list[str]] | None:
    """What comes in place of the example blocks of a file; None where they are not the example's any more."""
    if name in STRIPPED:
        return [[] for _ in contents]
    originals = {}
    for starter in starters.iterdir():
        if (starter / name).is_file():
            lines, blocks = _read(starter / name, f"{starter.name}/{name}")
            originals[starter.name] = [lines[block] for block in blocks]
    blank = originals.pop(BLANK)
    return blank if contents in originals.values() else None


def _read(path: Path, name: str) -> tuple[list[str], list[slice]]:
    """The file's lines, and where among them its example blocks are, markers included."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    blocks: list[slice] = []
    begin: int | None = None
    for index, line in enumerate(lines):
        is_begin, is_end = line.strip() in BEGIN, line.strip() in END
        if (is_begin and begin is not None) or (is_end and begin is None):
            raise _unpaired(name, index)
        if is_begin:
            begin = index
        elif is_end and begin is not None:
            blocks.append(slice(begin, index + 1))
            begin = None
    if begin is not None:
        raise _unpaired(name, begin)
    return lines, blocks


def _unpaired(name: str, index: int) -> ServiceError:
    advice = "example code stands between '# Example' and '# End Example': restore the pair, or remove both"
    return ServiceError(Fault("this marker has lost its other half", file=name, line=index + 1, advice=advice))


def _replaced(lines: Sequence[str], blocks: Sequence[slice], replacements: Sequence[Sequence[str]]) -> str:
    result = list(lines)
    for block, replacement in reversed(list(zip(blocks, replacements, strict=True))):
        result[block] = replacement
    return "".join(result)


def _remove_data(folder: Path, *, is_read: bool) -> tuple[list[str], list[str]]:
    """Remove the example's data files, and their folder unless it holds files of yours: what went, and what stayed."""
    if not folder.is_dir():
        return [], []
    readme = folder / "README.md"
    first_line = readme.read_text(encoding="utf-8").partition("\n")[0] if readme.is_file() else ""
    if not first_line.startswith(DATA_MARK):
        return [], [f"{DATA}: yours, no README.md says that it is the example's"]
    if is_read:
        return [], [f"{DATA}: your {LOADER} may read it"]
    names = first_line.removeprefix(DATA_MARK).removesuffix("-->").split()
    for name in names:
        (folder / Path(name).name).unlink(missing_ok=True)
    if any(folder.iterdir()):
        return [f"{DATA}/{name}" for name in names], [f"{DATA}: it holds files of yours"]
    folder.rmdir()
    return [DATA], []
