"""What a confined child does: run a program, answer calls of its functions, or put such functions to the test.

program    file 3 brings the source; 0, 1 and 2 are its standard streams
function   the same, and then file 4 brings calls: the program's functions are applied to plain values
examiner   file 3 brings the tests, file 4 leads to a `function` child; the report goes to 1

The examiner never holds a program and a function child never holds a test.
"""

from __future__ import annotations

import atexit
import builtins
import json
import os
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any, Final, NoReturn

from rlvr_trainer.jail.calls import serve_calls
from rlvr_trainer.jail.examiner import examine

EXIT_NOT_PYTHON: Final = 65
EXIT_BROKEN: Final = 70
_SOURCE_FILE: Final = 3
_PEER_FILE: Final = 4
_FIRST_WEAKNESS: Final = 80


def run(part: str) -> NoReturn:
    """Do `part` and end the process."""
    {"program": _program, "function": _function, "examiner": _examiner, "self-test": _self_test}[part]()
    os._exit(0)


def _program() -> None:
    _open_streams()
    _end(_execute(_source(), name="__main__"))


def _function() -> None:
    _open_streams()
    module = types.ModuleType("solution")
    code = _execute(_source(), name="solution", module=module)
    if code:
        _end(code)
    serve_calls(module.__dict__, _PEER_FILE)


def _examiner() -> None:
    exam = json.loads(_source())
    os.write(1, json.dumps(examine(exam, _PEER_FILE)).encode())


def _source() -> str:
    with open(_SOURCE_FILE, "rb") as file:  # noqa: PTH123 - a descriptor
        return file.read().decode("utf-8", "surrogatepass")


def _open_streams() -> None:
    """Fresh standard streams over 0, 1 and 2."""
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", errors="replace", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(  # type: ignore[misc]  # noqa: SIM115
        2, "w", encoding="utf-8", errors="replace", closefd=False, buffering=1
    )


def _execute(source: str, *, name: str, module: types.ModuleType | None = None) -> int:
    """Run a module as Python would; its exit code."""
    module = module or types.ModuleType(name)
    module.__dict__["__builtins__"] = builtins
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # as the module `site` would have it
    for ours in [known for known in sys.modules if known.partition(".")[0] == "rlvr_trainer"]:
        del sys.modules[ours]
    sys.modules[name] = module
    sys.argv = ["program.py"]
    try:
        code = compile(source, "program.py", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as problem:
        sys.stderr.write(f"{type(problem).__name__}: {problem}\n")
        return EXIT_NOT_PYTHON
    try:
        exec(code, module.__dict__)  # noqa: S102 - what this process is for
    except SystemExit as request:
        return _code_of(request)
    except BaseException:  # noqa: BLE001 - whatever a program raises ends it as it would end Python
        traceback.print_exc(limit=-3)
        return 1
    return 0


def _code_of(request: SystemExit) -> int:
    if request.code is None or isinstance(request.code, int):
        return (request.code or 0) & 0xFF
    sys.stderr.write(f"{request.code}\n")
    return 1


def _end(code: int) -> NoReturn:
    """End as Python does: threads first, then exit functions, then what is still in the streams."""
    try:
        threading = sys.modules.get("threading")
        if threading is not None:
            threading._shutdown()  # noqa: SLF001 - the interpreter's own hook; there is no public one
        atexit._run_exitfuncs()  # noqa: SLF001 - as above
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - the program's own handlers and streams
        code = code or 1
    os._exit(code)


def weakness(code: int) -> str:
    """What an exit code of the self-test says."""
    names = list(_FORBIDDEN)
    if 0 <= code - _FIRST_WEAKNESS < len(names):
        return f"a confined process may {names[code - _FIRST_WEAKNESS]}"
    return f"a confined process cannot even start (it ended with {code}): Python's standard library must be readable"


def _self_test() -> None:
    """End with the number of the first forbidden thing that was possible."""
    import decimal  # noqa: F401, PLC0415 - it must still be possible to import

    for index, attempt in enumerate(_FORBIDDEN.values()):
        try:
            attempt()
        except OSError:
            continue
        os._exit(_FIRST_WEAKNESS + index)


def _open_socket() -> None:
    import socket  # noqa: PLC0415 - only here

    socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


_FORBIDDEN: Final[dict[str, Callable[[], Any]]] = {
    "read /etc/passwd": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "read the environment of its parent": lambda: os.open(f"/proc/{os.getppid()}/environ", os.O_RDONLY),
    "list /": lambda: list(os.scandir("/")),
    "write to /tmp": lambda: os.open("/tmp/jail", os.O_WRONLY | os.O_CREAT),  # noqa: S108 - it must not work
    "open a socket": _open_socket,
    "start a process": os.fork,
    "signal its parent": lambda: os.kill(os.getppid(), 0),
}
