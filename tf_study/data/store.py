"""The data that lies in the package: used only while it is, byte for byte, what the manifest says.

``python tools/build_data.py --manifest`` writes the manifest after a file was changed.
"""

import hashlib
import shlex
from pathlib import Path

from tf_study.errors import StudyError

FOLDER = Path(__file__).parent / "embedded"
MANIFEST = "manifest.txt"  # a line per file: size, SHA-256, path below the folder


def path(name: str) -> Path:
    """Return the path of an embedded file, or of a folder of them, after checking size and digest of every file.

    Nothing is remembered: a check takes 1 ms per megabyte, far less than reading what it is about.

    Args:
        name: path below :data:`FOLDER`.

    Raises:
        StudyError: if a file is missing or another.
    """
    entries = {
        entry: line for entry, line in _manifest().items() if entry == name or entry.startswith(f"{name}/")
    }
    if not entries:
        raise _damaged(FOLDER / MANIFEST)
    for entry, line in entries.items():
        try:
            same = describe(FOLDER / entry) == line
        except OSError:
            same = False
        if not same:
            raise _damaged(FOLDER / entry)
    return FOLDER / name


def describe(file: Path) -> str:
    """Return the size and the SHA-256 of a file as they stand in the manifest."""
    content = file.read_bytes()
    return f"{len(content)} {hashlib.sha256(content).hexdigest()}"


def manifest() -> str:
    """Return the manifest that the files ask for; hidden files do not count."""
    files = (file for file in FOLDER.rglob("*") if file.is_file() and not file.name.startswith("."))
    names = sorted(file.relative_to(FOLDER).as_posix() for file in files if file != FOLDER / MANIFEST)
    return "".join(f"{describe(FOLDER / name)} {name}\n" for name in names)


def write_manifest() -> None:
    """Make the manifest agree with the files."""
    (FOLDER / MANIFEST).write_text(manifest(), encoding="utf-8", newline="\n")


def _manifest() -> dict[str, str]:
    try:
        lines = (FOLDER / MANIFEST).read_text(encoding="utf-8").splitlines()
        return {name: f"{size} {digest}" for size, digest, name in (line.split(" ") for line in lines)}
    except (OSError, ValueError) as error:
        raise _damaged(FOLDER / MANIFEST) from error


def _damaged(file: Path) -> StudyError:
    return StudyError(
        f"과정에 든 데이터 {file.relative_to(FOLDER)} 파일이 없거나 원래와 다르니 "
        f"`git checkout -- {shlex.quote(str(FOLDER))}`로 되돌리세요."
    )
