"""A desk of files that an agent works on.

What the files hold follows from those of the job and from the calls before.
"""

from typing import NotRequired, TypedDict


class File(TypedDict):
    path: str
    text: str


class Call(TypedDict):
    name: str
    arguments: dict[str, object]
    result: NotRequired[object]
    fault: NotRequired[str]


def list_files(files: list[File], earlier: list[Call], calls: list[Call]) -> list[str]:
    """Lists the files on the desk."""
    return sorted(_desk(files, earlier, calls))


def read_file(path: str, files: list[File], earlier: list[Call], calls: list[Call]) -> str:
    """Reads a file.

    path: as `list_files` gives it
    """
    desk = _desk(files, earlier, calls)
    if path not in desk:
        raise FileNotFoundError(f"there is no {path}; there are {', '.join(sorted(desk))}")
    return desk[path]


def write_file(path: str, text: str) -> str:
    """Writes a file, in the place of what it held.

    path: where to
    text: all that the file is to hold
    """
    if not path or path.startswith("/") or ".." in path:
        raise ValueError("paths are relative to the desk")
    return f"{len(text)} characters written"


def reached(
    calls: list[Call], earlier: list[Call], files: list[File], path: str, holds: list[str]
) -> str | None:
    """Why a file does not hold at the end what it is to hold."""
    found = _desk(files, earlier, calls).get(path)
    if found is None:
        return f"leaves no {path}"
    lacking = [each for each in holds if each.lower() not in found.lower()]
    return f"leaves {path} without {', '.join(lacking)}" if lacking else None


def _desk(files: list[File], *before: list[Call]) -> dict[str, str]:
    desk = {file["path"]: file["text"] for file in files}
    for call in (each for calls in before for each in calls):
        if call["name"] == "write_file" and "result" in call:
            desk[str(call["arguments"]["path"])] = str(call["arguments"]["text"])
    return desk
