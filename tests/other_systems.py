"""What macOS and Windows lack, and how a process of Linux comes to lack it too."""

import builtins
import importlib
import os
import shutil
import stat
import sys
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

POSIX_MODULES = """
    crypt curses fcntl grp nis posix pty pwd readline resource spwd syslog termios tty
"""
_OS = """
    EX_OK O_ACCMODE O_ASYNC O_CLOEXEC O_DIRECT O_DIRECTORY O_DSYNC O_NDELAY O_NOATIME O_NOCTTY
    O_NOFOLLOW O_NONBLOCK O_PATH O_RSYNC O_SYNC O_TMPFILE WEXITSTATUS WIFEXITED WIFSIGNALED WNOHANG
    WTERMSIG chown chroot confstr copy_file_range ctermid eventfd fchdir fchmod fchown fdatasync
    fork forkpty fpathconf fstatvfs getegid geteuid getgid getgrouplist getgroups getloadavg getpgid
    getpgrp getpriority getrandom getresgid getresuid getsid getuid getxattr initgroups killpg
    lchmod lchown listxattr lockf major makedev memfd_create minor mkfifo mknod nice openpty
    pathconf pidfd_open pipe2 posix_fadvise posix_fallocate posix_openpt posix_spawn posix_spawnp
    pread preadv pwrite pwritev readv register_at_fork removexattr sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getparam sched_getscheduler sched_setaffinity
    sched_setparam sched_setscheduler sched_yield sendfile setegid seteuid setgid setgroups setns
    setpgid setpgrp setpriority setregid setresgid setresuid setreuid setsid setuid setxattr splice
    statvfs sync sysconf tcgetpgrp tcsetpgrp ttyname uname unshare wait wait3 wait4 waitid writev
"""
_SIGNAL = """
    ITIMER_REAL SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGPROF SIGQUIT SIGSTOP
    SIGSYS SIGTRAP SIGTSTP SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ alarm getitimer pause
    pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait sigwaitinfo
"""
_SOCKET = "AF_UNIX CMSG_LEN if_nameindex recv_fds send_fds sethostname"
POSIX_NAMES = {  # by module, without what works on Windows too
    "os": frozenset(_OS.split()),
    "select": frozenset(("epoll", "kqueue", "poll")),
    "signal": frozenset(_SIGNAL.split()),
    "socket": frozenset(_SOCKET.split()),
    "time": frozenset(("clock_getres", "clock_gettime", "clock_settime", "tzset")),
}


def become_windows() -> None:
    """Take from postsense, and from nobody else, what Windows lacks.

    Nothing opens a folder, flushes a file that is open to be read only, or deletes, renames or
    replaces a file that is open or mapped into memory.
    """
    shutil._use_fd_functions = False  # type: ignore[attr-defined]  # it would open folders
    _refuse_to_flush()
    _refuse_folders()
    for module in POSIX_NAMES:
        importlib.import_module(module).__class__ = _Lacking
    builtins.__import__ = _import
    sys.addaudithook(_refuse_to_move)


class _Lacking(ModuleType):
    """A module without its names of POSIX, as postsense sees it."""

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__(self, "__name__")
        if name in POSIX_NAMES[own] and _asked_by_postsense(sys._getframe(1)):
            raise AttributeError(f"module '{own}' has no attribute '{name}'")
        return super().__getattribute__(name)


def _import(name: str, *arguments: Any, real: Any = builtins.__import__, **options: Any) -> Any:
    if name in POSIX_MODULES.split() and _asked_by_postsense(sys._getframe(1)):
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)
    return real(name, *arguments, **options)


def _asked_by_postsense(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).split(".")[0] == "postsense"


def _refuse_folders() -> None:
    open_file = os.open

    def open_(path: Any, *arguments: Any, **options: Any) -> int:
        if os.path.isdir(path):  # noqa: PTH112 - it may be bytes
            raise PermissionError(13, "Permission denied", path)
        return open_file(path, *arguments, **options)

    os.open = open_


def _refuse_to_flush() -> None:
    import fcntl

    flush, flags, writes = os.fsync, fcntl.fcntl, os.O_ACCMODE
    get_flags = fcntl.F_GETFL

    def fsync(descriptor: int) -> None:
        if flags(descriptor, get_flags) & writes == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        flush(descriptor)

    os.fsync = fsync


def _refuse_to_move(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("os.remove", "os.rename", "os.rmdir"):
        return
    touched = [os.path.abspath(os.fsdecode(path)) for path in arguments[:2] if path != -1]  # noqa: PTH100
    if any(".filelock-probe-" in path for path in touched):
        return  # of the library that locks files, which on Windows goes another way
    for held in _held():
        if any(held == path or held.startswith(path + os.sep) for path in touched):
            raise PermissionError(13, "The process cannot access the file", held)


def _held() -> set[str]:
    """Files that this process has open or mapped into memory."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    held = {line.split(maxsplit=5)[5] for line in maps if len(line.split(maxsplit=5)) > 5}
    for link in Path("/proc/self/fd").iterdir():
        try:
            held.add(str(link.readlink()))
        except OSError:  # the one that listed them
            continue
    return {name for name in held if name.startswith("/") and _is_file(name)}


def _is_file(name: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(name).st_mode)  # noqa: PTH116
    except OSError:
        return False
