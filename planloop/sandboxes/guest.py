"""The first process of a sandbox: starts calls, ends their trees, and lives as long as the host.

Runs inside, alone, as `python3 -I -S guest.py CONFIG` on Python 3.8 or later, standard library
only; nothing else of planloop exists there. CONFIG is a JSON object:

    fd | socket   where the host is: an inherited descriptor, or the path of a listening socket
    user          [uid, gid] of the calls, where this process is root; null where it is the same
    processes     limit for this user; null where a cgroup holds it
    address_space limit in bytes of one process; null where a cgroup holds memory

The first packet, `hello`, says that it is ready. The host sends packets of JSON with descriptors
beside them:

    {"op": "run", "id": N}   [request, stdin, stdout, stderr, status]
    {"op": "end", "id": N}   [reply]     end the call's processes; their number is the reply
    {"op": "end_all"}        [reply]     end everything but this process

`request` holds {"argv", "env", "cwd"}. A call's *keeper* (a child of this process, and the
subreaper of the call's tree) writes to `status` one line:

    exited WAITSTATUS REST   the command ended; REST is 1 if processes of it live on
    refused ERRNO WHAT       it could not be started, because of WHAT

The judged processes hold only stdin, stdout and stderr; neither keepers nor this process can be
traced or opened by them. When the host's end closes, this process exits and the kernel ends
everything that runs here.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time

# Names for type checkers only: nothing that costs memory in every sandbox is imported for them.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 4, 36, 38
PACKET = 1 << 16
KILL_DEADLINE_S = 8.0
DEFAULTED = [n for n in range(1, signal.NSIG) if n not in (signal.SIGKILL, signal.SIGSTOP)]


def main(config: dict[str, Any]) -> None:
    limit(config)
    control = connect(config)
    badness = io.FileIO("/proc/self/oom_score_adj", "w")
    harden()
    control.send(b"hello")
    Supervisor(control, config.get("user"), badness).serve()


def limit(config: dict[str, Any]) -> None:
    """Take the limits first: before them a fork bomb would take the host down."""
    for kind, value in (
        (resource.RLIMIT_NPROC, config.get("processes")),
        (resource.RLIMIT_AS, config.get("address_space")),
        (resource.RLIMIT_CORE, 0),
    ):
        if value is not None:
            resource.setrlimit(kind, (value, value))
    os.umask(0o022)


def connect(config: dict[str, Any]) -> socket.socket:
    if "fd" in config:
        return socket.socket(fileno=only_descriptor(config["fd"]))
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.connect(config["socket"])
    return control


def only_descriptor(kept: int) -> int:
    """Close everything that was inherited besides `kept`, and let no call inherit that."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != kept:
            with contextlib.suppress(OSError):  # the descriptor of the listing itself is gone
                os.close(int(name))
    os.set_inheritable(kept, False)
    return kept


def harden() -> None:
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_DUMPABLE, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def send(channel: socket.socket, packet: bytes, descriptors: list[int]) -> None:
    rights = struct.pack(f"{len(descriptors)}i", *descriptors)
    channel.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """The next packet and its descriptors; an empty packet means that the other end is gone."""
    packet, rights, _, _ = channel.recvmsg(PACKET, 512, socket.MSG_CMSG_CLOEXEC)
    descriptors: list[int] = []
    for _, _, data in rights:
        whole = len(data) - len(data) % 4
        descriptors.extend(struct.unpack(f"{whole // 4}i", data[:whole]))
    return packet, descriptors


def close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def report(descriptor: int, text: str) -> None:
    with contextlib.suppress(OSError):  # the host may have stopped listening to this call
        os.write(descriptor, text.encode("utf-8", "replace"))


# ---------------------------------------------------------------- the supervisor, process 1


class Keeper:
    """A child that runs one call at a time. `call` is its id, or None while it is idle."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.channel = channel
        self.call: int | None = None


class Supervisor:
    def __init__(self, control: socket.socket, user: list[int] | None, badness: io.FileIO) -> None:
        self.control = control
        self.user = user
        self.badness = badness
        self.pid = os.getpid()
        self.keepers: dict[int, Keeper] = {}
        self.poll = select.poll()
        self.wake, write_end = os.pipe()
        for descriptor in (self.wake, write_end):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        self.wake_write = write_end
        self.poll.register(self.control, select.POLLIN)
        self.poll.register(self.wake, select.POLLIN)

    def serve(self) -> None:
        while True:
            ready = {descriptor for descriptor, _ in self.poll.poll()}
            if self.wake in ready:
                os.read(self.wake, 4096)
            for keeper in [one for one in self.keepers.values() if one.channel.fileno() in ready]:
                self.hear(keeper)
            self.reap()
            if self.control.fileno() in ready:
                self.obey()

    def hear(self, keeper: Keeper) -> None:
        """A keeper says that its tree is empty, or is gone."""
        try:
            said = keeper.channel.recv(16)
        except OSError:
            said = b""
        if said:
            keeper.call = None
        else:
            self.forget(keeper)

    def forget(self, keeper: Keeper) -> None:
        if self.keepers.pop(keeper.pid, None) is not None:
            self.poll.unregister(keeper.channel)
            keeper.channel.close()

    def reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in self.keepers:
                self.forget(self.keepers[pid])

    def obey(self) -> None:
        packet, descriptors = receive(self.control)
        if not packet:
            os._exit(0)
        order = json.loads(packet)
        try:
            if order["op"] == "run":
                self.run(packet, order["id"], descriptors)
            elif order["op"] == "end":
                report(descriptors[0], str(self.end(order["id"])))
            elif order["op"] == "end_all":
                report(descriptors[0], str(self.end_all()))
        finally:
            close_all(descriptors)

    def run(self, packet: bytes, call: int, descriptors: list[int]) -> None:
        try:
            keeper = self.idle_keeper()
            signal_one(keeper.pid, signal.SIGCONT)  # an earlier call may have stopped it
            send(keeper.channel, packet, descriptors)
            keeper.call = call
        except OSError as error:
            report(descriptors[4], f"refused {error.errno or errno.EAGAIN} fork")

    def idle_keeper(self) -> Keeper:
        for keeper in self.keepers.values():
            if keeper.call is None:
                return keeper
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid = self.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            self.become_keeper(ours, theirs)
        theirs.close()
        keeper = Keeper(pid, ours)
        self.keepers[pid] = keeper
        self.poll.register(ours, select.POLLIN)
        return keeper

    def fork(self) -> int:
        """Fork a child that the kernel, out of memory, would rather kill than this process."""
        self.badness.write(b"500")
        try:
            pid = os.fork()
        finally:
            if os.getpid() == self.pid:
                self.badness.write(b"0")
        return pid

    def become_keeper(self, ours: socket.socket, theirs: socket.socket) -> None:
        """The child's side of the fork; never returns."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            close_all([self.wake, self.wake_write])
            self.control.close()
            self.badness.close()
            ours.close()
            for keeper in self.keepers.values():
                keeper.channel.close()
            keep(theirs, self.user)
        finally:
            os._exit(1)

    # ------------------------------------------------------------ ending

    def end(self, call: int) -> int:
        """End the tree of a call, and whatever lost its keeper; returns how many were alive."""
        return self.end_until_gone(lambda: self.members(call), lambda: not self.kept(call))

    def end_all(self) -> int:
        return self.end_until_gone(everything, lambda: True)

    def kept(self, call: int) -> bool:
        """Whether a keeper still has the call, which it may not even have started yet."""
        for keeper in list(self.keepers.values()):
            if select.select([keeper.channel], [], [], 0)[0]:
                self.hear(keeper)
        return any(keeper.call == call for keeper in self.keepers.values())

    def members(self, call: int) -> set[int]:
        """Living processes that belong to `call` or to no call that still has a keeper."""
        table = processes()
        mine: set[int] = set()
        kept: set[int] = set()
        for keeper in self.keepers.values():
            below = tree_of(keeper.pid, table)
            kept |= below | {keeper.pid}
            if keeper.call == call:
                mine |= below
        strays = tree_of(1, table) - kept
        return alive(mine | strays, table)

    def end_until_gone(self, members: Callable[[], set[int]], over: Callable[[], bool]) -> int:
        """Kill the members until none is left and nothing can start another.

        All processes are stopped first, so that no member forks while the list is read. One pass
        is not enough: a kill takes effect only when its process next runs.
        """
        deadline = time.monotonic() + KILL_DEADLINE_S
        ended: set[int] = set()
        while True:
            found = members()
            if found:
                signal_all(signal.SIGSTOP)
                found |= members()
                for pid in found:
                    signal_one(pid, signal.SIGKILL)
            signal_all(signal.SIGCONT)
            ended |= found
            self.reap()
            if not found and over():
                return len(ended)
            if time.monotonic() > deadline:
                os._exit(3)  # the kernel ends what would not end, and the host sees it
            time.sleep(0.0005)


def everything() -> set[int]:
    table = processes()
    return alive(tree_of(1, table), table)


def signal_all(number: int) -> None:
    signal_one(-1, number)


def signal_one(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def processes() -> dict[int, tuple[int, bool]]:
    """Every process by id: (parent, whether it can still run code)."""
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            dead = fields[0] in (b"Z", b"X") and int(fields[17]) <= 1
            table[int(name)] = (int(fields[1]), not dead)
    return table


def tree_of(root: int, table: dict[int, tuple[int, bool]]) -> set[int]:
    """Everything below a process, without itself."""
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in table.items():
        children.setdefault(parent, []).append(pid)
    below: set[int] = set()
    pending = [root]
    while pending:
        for child in children.get(pending.pop(), ()):
            if child not in below:
                below.add(child)
                pending.append(child)
    return below


def alive(pids: set[int], table: dict[int, tuple[int, bool]]) -> set[int]:
    return {pid for pid in pids if pid in table and table[pid][1]}


# ---------------------------------------------------------------- a keeper


def keep(channel: socket.socket, user: list[int] | None) -> None:
    """Run the calls that come, one at a time, until the supervisor is gone."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_DUMPABLE, 0)
    while True:
        packet, descriptors = receive(channel)
        if not packet:
            os._exit(0)
        keep_call(channel, user, descriptors)


def keep_call(channel: socket.socket, user: list[int] | None, descriptors: list[int]) -> None:
    status = descriptors[4]
    try:
        pid = start(user, *descriptors[:4])
    except Refused as refused:
        channel.send(b"idle")
        report(status, f"refused {refused.number} {refused.what}")
        close_all(descriptors)
        return
    close_all(descriptors[:4])
    wait_status = wait_for(pid)
    rest = reap_until_none()
    if not rest:
        channel.send(b"idle")
    report(status, f"exited {wait_status} {rest}")
    os.close(status)
    if rest:
        wait_for(None)
        channel.send(b"idle")


class Refused(Exception):
    def __init__(self, number: int, what: str) -> None:
        super().__init__(number, what)
        self.number = number
        self.what = what


def start(user: list[int] | None, request: int, stdin: int, stdout: int, stderr: int) -> int:
    """Start the command as the calls' user; returns its process id."""
    wanted = read_request(request)
    become(user)
    try:
        enter(wanted["cwd"])
        return spawn(wanted["argv"], wanted["env"], (stdin, stdout, stderr))
    finally:
        become_root(user)
        os.chdir("/")


def become(user: list[int] | None) -> None:
    """Act as the calls' user; the saved id stays, so that only a started program is that user."""
    if user is not None:
        os.setresgid(user[1], user[1], user[1])
        os.setgroups([])
        os.setresuid(user[0], user[0], 0)


def become_root(user: list[int] | None) -> None:
    if user is not None:
        os.setresuid(0, 0, 0)


def read_request(descriptor: int) -> dict[str, Any]:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return json.loads(file.read())  # type: ignore[no-any-return]


def enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except (OSError, ValueError) as error:
        raise Refused(getattr(error, "errno", None) or errno.EINVAL, "cwd") from None


def spawn(argv: list[str], env: dict[str, str], streams: tuple[int, int, int]) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, streams[number], number) for number in range(3)]
    refusal = errno.ENOENT
    for program in candidates(argv[0], env.get("PATH", "/usr/bin:/bin")):
        try:
            return os.posix_spawn(
                program,
                argv,
                env,
                file_actions=actions,
                setsid=True,
                setsigmask=[],
                setsigdef=DEFAULTED,
            )
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOMEM):
                raise Refused(error.errno, "fork") from None
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                refusal = error.errno or errno.EIO
        except ValueError:
            raise Refused(errno.EINVAL, "program") from None
    raise Refused(refusal, "program")


def candidates(program: str, path: str) -> list[str]:
    if "/" in program:
        return [program]
    return [os.path.join(folder or ".", program) for folder in path.split(":")]


def wait_for(wanted: int | None) -> int:
    """Reap until `wanted` has ended, or with None until no child is left."""
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return 0
        if pid == wanted:
            return status


def reap_until_none() -> int:
    """Reap what has ended; 1 if children live on, 0 if none is left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0
        if not pid:
            return 1


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
