"""Takes from a process all that running code does not need: the network, other processes, files but Python's
own and a folder, and more memory and time than it is given.  A script beside it loads it.
"""

import _thread
import collections
import ctypes
import enum
import os
import platform
import resource
import signal
import struct
import sys
import sysconfig
import traceback
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

# Bytes of a file, of what is printed too, that code may write.
FILE_BYTES = 1 << 20

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 38, 22
_ALLOW, _DENY, _ABSENT, _KILL = 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38, 0x80000000
# By machine: the number of its architecture for filters, and those of calls.
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE_THREAD = 0x10000
_KILLS = {"x86_64": (62, 234), "aarch64": (129, 131)}
_PRLIMIT = {"x86_64": 302, "aarch64": 261}
# `clone3`, whose flags a filter cannot see: the C library then takes `clone`.
_CLONE3 = 435
# What came after the calls that are known here.
_NEWEST = 462
# What moves data between the two ends of a pair, and would reach others by an address.
_SENDTO = {"x86_64": 44, "aarch64": 206}
_DENIED = {
    "x86_64": (
        # Shared memory, sockets, processes, semaphores and queues.
        *(29, 30, 31, 41, 42, 43, 46, 49, 50, 57, 58, 59, *range(64, 72), 288, 299, 307, 322),
        # What files say of themselves, truncation by name, and what watches files.
        *(76, *range(90, 95), 132, 133, 188, 189, 190, 197, 198, 199, 235, 254, 259, 260, 261, 268, 280),
        *(300, 303, 304, 452),
        # Tracing, signals, limits, users, and the system as a whole.
        *(101, 103, 105, 106, 109, 112, 113, 114, 116, 117, 119, 122, 123, 126, 129, 134, 135, 136, 139),
        *range(153, 158),
        *(159, *range(160, 184), 200, 205, 212, 227, *range(237, 247), 248, 249, 250, 256, 272, 278, 279),
        *(297, 298),
        *(305, 308, 310, 311, 312, 313, 317, 320, 321, 323, *range(424, 435), 438, 440, 442, 443, 448),
    ),
    "aarch64": (
        *(*range(180, 198), 198, 200, 201, 202, 203, 211, 221, 242, 243, 269, 281),
        *(5, 6, 7, 14, 15, 16, 27, 33, 45, 52, 53, 54, 55, 88, 262, 263, 264, 265, 452),
        *(18, 39, 40, 41, 42, 51, 58, 60, 75, 89, 91, 92, 97, 104, 105, 106, 112, 116, 117, 130, 138, 142),
        *range(143, 153),
        *(154, 157, 159, 161, 162, 164, 167, 170, 171, 217, 218, 219, 224, 225, *range(235, 242), 266),
        *(268, 270, 271, 272),
        *(273, 277, 280, 282, 294, *range(424, 435), 438, 440, 442, 443, 448),
    ),
}  # fmt: skip
# Landlock: rights on files by version of its interface, and those that only reading takes.
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_READ_FILE, _READ_DIR, _WRITE_FILE, _TRUNCATE = 1 << 2, 1 << 3, 1 << 1, 1 << 14
_FOLDERS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo")
_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/dev/urandom", "/dev/random", "/dev/zero")

# What code asks of Python that no task needs, and how it is told.
_FORBIDDEN = {
    **dict.fromkeys(
        ("os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.exec", "os.system"), "begins a process"
    ),
    **dict.fromkeys(("subprocess.Popen", "pty.spawn"), "begins a process"),
    **dict.fromkeys(
        ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname"), "uses the network"
    ),
    **dict.fromkeys(("socket.sendto", "socket.sendmsg", "socket.gethostbyaddr"), "uses the network"),
    **dict.fromkeys(
        ("ctypes.dlopen", "ctypes.dlsym", "ctypes.call_function", "ctypes.addressof"), "reaches below Python"
    ),
    **dict.fromkeys(("ctypes.cdata", "ctypes.string_at"), "reaches below Python"),
    **dict.fromkeys(("gc.get_objects", "gc.get_referrers", "gc.get_referents"), "looks into what tests it"),
    **dict.fromkeys(("sys._current_frames", "sys._current_exceptions"), "looks into what tests it"),
    **dict.fromkeys(("sys.settrace", "sys.setprofile", "sys.addaudithook"), "looks into what tests it"),
    "sys.monitoring.register_callback": "looks into what tests it",
    "os.kill": "sends a signal",
}
# Modules by which Python tests itself, and those that show frames.
_BELOW = ("_testcapi", "_testinternalcapi", "_testlimitedcapi", "_xxsubinterpreters", "_interpreters")
_SHOWING = ("/inspect.py", "/traceback.py", "/bdb.py", "/pdb.py")
_FRAMES = ("tb_frame", "gi_frame", "cr_frame", "ag_frame")


def means() -> str:
    """What confines, in words."""
    library = ctypes.CDLL(None, use_errno=True)
    return f"seccomp, landlock {library.syscall(444, None, 0, 1)}"


def confine(given: dict[str, Any], reply: int) -> str | None:
    """Gives up everything that code does not need; why that cannot be done here, or None."""
    folder = given["folder"]
    os.chdir(folder)
    os.environ.clear()
    os.environ["HOME"] = os.environ["TMPDIR"] = folder
    printed = os.open(os.path.join(folder, "printed"), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    for number in range(3, 256):
        if number != reply:
            with suppress(OSError):
                os.close(number)
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _ARCHITECTURES:
        return f"code is confined on Linux on x86_64 and aarch64, and this is {sys.platform} on {machine}"
    sys.path[:] = [each for each in sys.path if "site-packages" not in each]
    memory = int(given["memory"]) << 20
    seconds = int(given["seconds"]) + 2
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return "this system lets no process give up privileges"
    return _bind_files(library, folder) or _filter_calls(library, machine)


def _bind_files(library: Any, folder: str) -> str | None:
    """Landlock: what may be read, and the one folder that may be written."""
    interface = library.syscall(444, None, 0, 1)
    if interface < 1:
        return "this system has no Landlock, or does not let it be used: it takes Linux 5.13"
    rights = _RIGHTS[max(each for each in _RIGHTS if each <= interface)]
    fields = [rights, *([3] if interface >= 4 else []), *([3] if interface >= 6 else [])]
    attributes = struct.pack(f"<{len(fields)}Q", *fields)
    rules = library.syscall(444, attributes, len(attributes), 0)
    if rules < 0:
        return "this system does not let Landlock be used"
    places = sysconfig.get_paths()
    own = {places["stdlib"], places["platstdlib"], os.path.join(sys.base_prefix, "lib"), *_FOLDERS}
    allowed = [(each, _READ_FILE | _READ_DIR) for each in own]
    allowed += [
        (each, _READ_FILE) for each in (*_FILES, *(each for each in sys.path if each.endswith(".zip")))
    ]
    allowed += [("/dev/null", _READ_FILE | _WRITE_FILE), (folder, rights)]
    for path, wanted in allowed:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        rule = struct.pack("<Qi", wanted & rights, place)
        failed = library.syscall(445, rules, 1, rule, 0)
        os.close(place)
        if failed:
            return "this system does not let Landlock be used"
    if library.syscall(446, rules, 0):
        return "this system does not let Landlock be used"
    os.close(rules)
    return None


def _filter_calls(library: Any, machine: str) -> str | None:
    """Seccomp: no network, no process, no signal to others, nothing of the system changed."""
    program = list(_program(machine))
    content = b"".join(struct.pack("<HBBI", *each) for each in program)
    buffer = ctypes.create_string_buffer(content, len(content))
    filters = struct.pack("<HxxxxxxQ", len(program), ctypes.addressof(buffer))
    if library.prctl(_PR_SET_SECCOMP, 2, filters, 0, 0):
        return "this system does not let calls of the kernel be filtered"
    return None


def _program(machine: str) -> Iterator[tuple[int, int, int, int]]:
    """Instructions: code, jump where true, jump where false, value."""
    load, equal, above, some, give = 0x20, 0x15, 0x25, 0x45, 0x06

    yield load, 0, 0, 4
    yield equal, 1, 0, _ARCHITECTURES[machine]
    yield give, 0, 0, _KILL
    yield load, 0, 0, 0
    yield equal, 0, 1, _CLONE3
    yield give, 0, 0, _ABSENT
    yield above, 0, 1, _NEWEST
    yield give, 0, 0, _ABSENT
    # A thread is no process.
    yield equal, 0, 4, _CLONE[machine]
    yield load, 0, 0, 16
    yield some, 1, 0, _CLONE_THREAD
    yield give, 0, 0, _DENY
    yield give, 0, 0, _ALLOW
    for number in _KILLS[machine]:
        yield equal, 0, 4, number
        yield load, 0, 0, 16
        yield equal, 1, 0, os.getpid()
        yield give, 0, 0, _DENY
        yield give, 0, 0, _ALLOW
    # Limits may be read, not set.
    yield equal, 0, 6, _PRLIMIT[machine]
    yield load, 0, 0, 32
    yield equal, 0, 3, 0
    yield load, 0, 0, 36
    yield equal, 0, 1, 0
    yield give, 0, 0, _ALLOW
    yield give, 0, 0, _DENY
    yield equal, 0, 6, _SENDTO[machine]
    yield load, 0, 0, 48
    yield equal, 0, 3, 0
    yield load, 0, 0, 52
    yield equal, 0, 1, 0
    yield give, 0, 0, _ALLOW
    yield give, 0, 0, _DENY
    for number in sorted(set(_DENIED[machine])):
        yield equal, 0, 1, number
        yield give, 0, 0, _DENY
    yield give, 0, 0, _ALLOW


def watch(folder: str, own: types.CodeType) -> list[str]:
    """Takes note of what code asks of Python that it may not, and refuses it there too.  A hook stays.
    `own` is what may look at the frames of tracebacks for the tester."""
    tried: list[str] = []
    inside = os.path.join(os.path.realpath(folder), "")
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    real, forbidden, may_look = os.path.realpath, _FORBIDDEN, _looking(own, tried)

    def refuse(what: str) -> None:
        tried.append(what)
        raise PermissionError(f"{what}, which is not allowed")

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event in forbidden:
            refuse(forbidden[event])
        elif event == "sys._getframe":
            if not may_look(None):
                # As where the stack ends: Python's own modules go on without.
                raise ValueError("call stack is not deep enough")
        elif event == "object.__getattr__" and given[1] in _FRAMES:
            if not may_look(given[1]):
                raise AttributeError(given[1])
        elif event == "import" and given[0] in _BELOW:
            refuse("reaches below Python")
        elif event == "open" and isinstance(given[0], str | bytes):
            if isinstance(given[2], int) and given[2] & writing:
                path = real(os.fsdecode(given[0]))
                if not path.startswith(inside) and path != os.devnull:
                    refuse(f"writes outside its folder, to `{path[:100]}`")
        elif event in (
            "os.remove",
            "os.rename",
            "os.rmdir",
            "os.mkdir",
            "os.truncate",
            "os.link",
            "os.symlink",
        ):
            for each in given[:2]:
                if isinstance(each, str | bytes) and not real(os.fsdecode(each)).startswith(inside):
                    refuse(f"writes outside its folder, to `{real(os.fsdecode(each))[:100]}`")
        elif event == "socket.__new__" and given[1] not in (1, -1):
            refuse("uses the network")
        elif event in ("os.chmod", "os.chown", "os.utime", "os.setxattr"):
            refuse("changes what a file says of itself")

    sys.addaudithook(hook)
    return tried


def _looking(own: types.CodeType, tried: list[str]) -> Callable[[str | None], bool]:
    """Whether who asks for a frame, or for one by an attribute, may have it.  From a frame everything that
    runs can be reached, so it is given to functions of Python alone that keep it to themselves: they are
    told by what they are, since code may call itself by any name."""
    naming = {id(each.__code__) for each in (collections.namedtuple, enum.EnumMeta._create_, typing._caller)}  # type: ignore[attr-defined]
    ending = {id(own), id(traceback.clear_frames.__code__)}
    summary = traceback.StackSummary
    taking = [getattr(summary, name, None) for name in ("extract", "_extract_from_extended_frame_gen")]
    takers = {id(each.__func__.__code__) for each in taking if each is not None}
    walking = [getattr(traceback, name, None) for name in ("walk_tb", "_walk_tb_with_full_positions")]
    walkers = {id(each.__code__) for each in walking if each is not None}
    between = walkers | {
        id(each)
        for each in summary.extract.__func__.__code__.co_consts  # type: ignore[attr-defined]
        if isinstance(each, types.CodeType)
    }
    library = os.path.join(os.path.dirname(traceback.__file__), "")
    frame_of, identity, thread = sys._getframe, id, _thread.get_ident
    asking: set[int] = set()

    def may_look(attribute: str | None) -> bool:
        # To look at the one who asks is an event of its own, in the same thread.
        if attribute is None and thread() in asking:
            asking.discard(thread())
            return True
        asking.add(thread())
        frame: Any = frame_of(2)
        code = frame.f_code
        if attribute is None:
            allowed = identity(code) in naming
        elif identity(code) in walkers:
            while frame is not None and identity(frame.f_code) in between:
                frame = frame.f_back
            allowed = frame is not None and identity(frame.f_code) in takers
        else:
            allowed = identity(code) in ending
        named = code.co_filename
        if not allowed and (not named.startswith((library, "<frozen ")) or named.endswith(_SHOWING)):
            tried.append("looks into what tests it")
        return allowed

    return may_look
