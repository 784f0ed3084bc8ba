"""The first process of a sandbox: starts calls, ends their trees, and lives as long as the host.

Runs inside, alone, as `python3 -I -S guest.py WORD...` on Python 3.8 or later, standard library
only; nothing else of planloop exists there. `first_process.py` writes the words:

    door=FD | door=PATH    where the host is: an inherited descriptor, or a listening socket
    workspace=PATH
    listen=PORT,ADDRESS    where the host accepts connections from inside; may be repeated
    user=ID                user and group of the calls, where this process is root
    processes=N            limit for this user, where no cgroup holds it
    address_space=BYTES    limit of one process, where no cgroup holds memory

The first packet, `hello`, says that it is ready. It brings a descriptor of the workspace
(O_PATH), then the listening sockets in their order; `refused ERRNO WHERE` says that one could not
be opened. The host sends packets with descriptors beside them:

    run N     [request, stdin, stdout, stderr, status, channel?]
    end N     [reply]     end the processes of a call; their number is the reply
    end_all   [reply]     end everything but this process
    pause     [reply]     stop everything else; how many still move is the reply
    resume    [reply]     let it go on, and start what was to run meanwhile; how many have moved
                          in the pause is the reply: a timer of theirs may have woken them

`channel` becomes descriptor 3 of the command. `request` holds, with NUL between them, the working
directory, whether to tell the start, the number of arguments, the arguments, and the environment
as NAME=VALUE. A call's *keeper* (a child of this process, and the subreaper of the call's tree)
writes to `status`:

    started                  the command runs (only if the request asks for it; more will come)
    exited WAITSTATUS REST   the command ended; REST is 1 if processes of it live on
    refused ERRNO WHAT       it could not be started, because of WHAT

The judged processes hold only stdin, stdout, stderr and their channel; neither keepers nor this
process can be traced or opened by them. When the host's end closes, this process exits and the
kernel ends everything that runs here.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Callable
    from typing import Any

    native: Any
else:  # the modules under these: their public faces cost more than all the rest of a start
    import _ctypes as native
    import _signal as signal
    import _socket as socket

PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 4, 36, 38
PACKET = 4096
KILL_DEADLINE_S = 8.0
PAUSE_DEADLINE_S = 5.0
UNINTERRUPTIBLE_S = 0.1
DEFAULTED = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
MOVING = (b"R", b"S")
UNINTERRUPTIBLE = b"D"


class Config:
    def __init__(self, words: list[str]) -> None:
        pairs = [word.partition("=")[::2] for word in words]
        self.given = dict(pairs)
        self.listen = [value.partition(",")[::2] for name, value in pairs if name == "listen"]

    def number(self, name: str) -> int | None:
        return int(self.given[name]) if name in self.given else None


def main(words: list[str]) -> None:
    config = Config(words)
    limit(config)
    control = connect(config.given["door"])
    badness = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    harden()
    greet(control, config)
    Supervisor(control, config.number("user"), badness).serve()


def limit(config: Config) -> None:
    """Take the limits first: before them a fork bomb would take the host down."""
    for kind, value in (
        (resource.RLIMIT_NPROC, config.number("processes")),
        (resource.RLIMIT_AS, config.number("address_space")),
        (resource.RLIMIT_CORE, 0),
    ):
        if value is not None:
            resource.setrlimit(kind, (value, value))
    os.umask(0o022)


def connect(door: str) -> socket.socket:
    if door.isdigit():
        only_descriptor(int(door))
        return socket.socket(fileno=int(door))
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.connect(door)
    return control


def only_descriptor(kept: int) -> None:
    """Close everything that was inherited besides `kept`, and let no call inherit that."""
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    os.closerange(3, kept)
    os.closerange(kept + 1, highest + 1)
    os.set_inheritable(kept, False)


def harden() -> None:
    prctl(PR_SET_NO_NEW_PRIVS)
    prctl(PR_SET_DUMPABLE, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Function(native.CFuncPtr):  # type: ignore[misc]
    _flags_ = 1  # called as C does


def prctl(option: int, value: int = 1) -> None:
    address = native.dlsym(native.dlopen(None, 0), "prctl")
    if Function(address)(option, value, 0, 0, 0) != 0:
        raise OSError(errno.EPERM, f"prctl {option}")


def greet(control: socket.socket, config: Config) -> None:
    """Say that this process is ready, and hand out what the host works with from outside."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    workspace = os.open(config.given["workspace"], flags)
    listeners: list[socket.socket] = []
    for port, address in config.listen:
        try:
            listeners.append(listener(address, int(port)))
        except OSError as error:
            control.send(f"refused {error.errno or errno.EIO} {address}:{port}".encode())
            os._exit(1)
    send(control, b"hello", [workspace, *(one.fileno() for one in listeners)])
    close_all([workspace])
    for one in listeners:
        one.close()


def listener(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind((address, port))
    opened.listen(64)
    return opened


def send(channel: socket.socket, packet: bytes, descriptors: list[int]) -> None:
    rights = b"".join(one.to_bytes(4, sys.byteorder) for one in descriptors)
    channel.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """The next packet and its descriptors; an empty packet means that the other end is gone."""
    packet, rights, _, _ = channel.recvmsg(PACKET, 512, socket.MSG_CMSG_CLOEXEC)
    data = b"".join(data for _, _, data in rights)
    places = range(0, len(data) - len(data) % 4, 4)
    return packet, [int.from_bytes(data[at : at + 4], sys.byteorder) for at in places]


def close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def report(descriptor: int, text: str) -> None:
    try:  # noqa: SIM105 - contextlib would cost 3 ms of each start
        os.write(descriptor, text.encode("utf-8", "replace"))
    except OSError:
        pass  # the host may have stopped listening to this call


# ---------------------------------------------------------------- the supervisor, process 1


class Keeper:
    """A child that runs one call at a time. `call` is its id, or None while it is idle."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.channel = channel
        self.call: int | None = None


class Supervisor:
    def __init__(self, control: socket.socket, user: int | None, badness: int) -> None:
        self.control = control
        self.user = user
        self.badness = badness
        self.keepers: dict[int, Keeper] = {}
        self.paused = False
        self.still: dict[str, int] = {}
        self.waiting: list[tuple[int, list[int]]] = []
        self.poll = select.poll()
        self.wake, self.wake_write = os.pipe()
        for descriptor in (self.wake, self.wake_write):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        self.poll.register(self.control.fileno(), select.POLLIN)
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
            self.poll.unregister(keeper.channel.fileno())
            keeper.channel.close()

    def reap(self) -> None:
        """Reap what has ended: keepers, and processes that lost theirs."""
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
        order, _, call = packet.decode().partition(" ")
        if order == "run":
            self.waiting.append((int(call), descriptors))
            self.run_waiting()
            return
        report(descriptors[0], str(self.answer(order, call)))
        close_all(descriptors)
        self.run_waiting()

    def answer(self, order: str, call: str) -> int:
        """Carry out an order whose reply is a number."""
        if order == "end":
            return self.end(int(call))
        if order == "end_all":
            return self.end_all()
        return self.pause() if order == "pause" else self.resume()

    # ------------------------------------------------------------ running

    def run_waiting(self) -> None:
        while self.waiting and not self.paused:
            call, descriptors = self.waiting[0]  # still listed: a keeper forked for it closes them
            self.run(call, descriptors)
            del self.waiting[0]
            close_all(descriptors)

    def run(self, call: int, descriptors: list[int]) -> None:
        try:
            keeper = self.idle_keeper()
            signal_one(keeper.pid, signal.SIGCONT)  # an earlier call may have stopped it
            send(keeper.channel, b"run", descriptors)
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
        self.poll.register(ours.fileno(), select.POLLIN)
        return keeper

    def fork(self) -> int:
        """Fork a child that the kernel, out of memory, would rather kill than this process."""
        mine = os.getpid()
        os.write(self.badness, b"500")
        try:
            return os.fork()
        finally:
            if os.getpid() == mine:
                os.write(self.badness, b"0")

    def become_keeper(self, ours: socket.socket, theirs: socket.socket) -> None:
        """The child's side of the fork; never returns."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            close_all([self.wake, self.wake_write, self.badness])
            close_all([one for _, descriptors in self.waiting for one in descriptors])
            for inherited in (self.control, ours, *(one.channel for one in self.keepers.values())):
                inherited.close()
            keep(theirs, self.user)
        finally:
            os._exit(1)

    # ------------------------------------------------------------ pausing

    def pause(self) -> int:
        """Stop everything else, keepers too; returns how many still moved when time was up."""
        self.paused = True
        began = time.monotonic()
        while True:
            signal_one(-1, signal.SIGSTOP)
            spent = time.monotonic() - began
            states = MOVING if spent > UNINTERRUPTIBLE_S else (*MOVING, UNINTERRUPTIBLE)
            moving = len([pid for pid in everything() if moves(pid, states)])
            if not moving or spent > PAUSE_DEADLINE_S:
                self.still = self.steps()
                return moving
            time.sleep(0.0005)

    def resume(self) -> int:
        """Let everything go on; returns how many threads have moved since all stood still."""
        self.paused = False
        now = self.steps()
        stirred = [one for one in now if now[one] < 0 or now[one] != self.still.get(one)]
        signal_one(-1, signal.SIGCONT)
        return len(stirred)

    def steps(self) -> dict[str, int]:
        """How often each thread, keepers' aside, gave up a processor; -1 while it has one."""
        return {
            thread: steps_of(thread)
            for pid in everything() - self.keepers.keys()
            for thread in threads_of(pid)
        }

    # ------------------------------------------------------------ ending

    def end(self, call: int) -> int:
        """End the tree of a call, and whatever lost its keeper; returns how many were alive."""
        self.forget_waiting(lambda waiting: waiting == call)
        ended = self.end_until_gone(lambda: self.members(call), lambda: not self.kept(call), call)
        if self.paused:
            signal_one(-1, signal.SIGSTOP)
        return ended

    def end_all(self) -> int:
        self.forget_waiting(lambda _: True)
        self.paused = False
        return self.end_until_gone(everything, lambda: True, None)

    def forget_waiting(self, ended: Callable[[int], bool]) -> None:
        for _, descriptors in [one for one in self.waiting if ended(one[0])]:
            close_all(descriptors)
        self.waiting = [one for one in self.waiting if not ended(one[0])]

    def kept(self, call: int) -> bool:
        """Whether a keeper still has the call, which it may not even have started yet."""
        for keeper in list(self.keepers.values()):
            if select.select([keeper.channel.fileno()], [], [], 0)[0]:
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

    def end_until_gone(
        self, members: Callable[[], set[int]], over: Callable[[], bool], call: int | None
    ) -> int:
        """Kill the members until none is left and nothing can start another.

        All processes are stopped first, so that no member forks while the list is read. One pass
        is not enough: a kill takes effect only when its process next runs.
        """
        deadline = time.monotonic() + KILL_DEADLINE_S
        ended: set[int] = set()
        while True:
            found = members()
            if found:
                signal_one(-1, signal.SIGSTOP)
                found |= members()
                for pid in found:
                    signal_one(pid, signal.SIGKILL)
            self.let_go_on(call)
            ended |= found
            self.reap()
            if not found and over():
                return len(ended)
            if time.monotonic() > deadline:
                os._exit(3)  # the kernel ends what would not end, and the host sees it
            time.sleep(0.0005)

    def let_go_on(self, call: int | None) -> None:
        """End a stop that was only for killing; in a pause, let only the call's keeper go on."""
        if not self.paused:
            signal_one(-1, signal.SIGCONT)
            return
        for keeper in self.keepers.values():
            if keeper.call == call:
                signal_one(keeper.pid, signal.SIGCONT)


def everything() -> set[int]:
    table = processes()
    return alive(tree_of(1, table), table)


def moves(pid: int, states: tuple[bytes, ...]) -> bool:
    """Whether a thread of a process may still run: a stop takes effect when it next would."""
    try:
        return any(stat_of(thread)[0] in states for thread in threads_of(pid))
    except OSError:
        return False


def threads_of(pid: int) -> list[str]:
    try:
        return [f"{pid}/task/{one}" for one in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def steps_of(thread: str) -> int:
    """How often a thread gave up a processor; -1 while it may have one, 0 if it is gone."""
    try:
        if stat_of(thread)[0] in MOVING:
            return -1
        file = os.open(f"/proc/{thread}/status", os.O_RDONLY)
    except OSError:
        return 0
    try:
        counts = os.read(file, PACKET).rpartition(b"\nvoluntary_ctxt_switches:")[2]
        return sum(int(word) for word in counts.split() if word.isdigit())
    except OSError:
        return 0
    finally:
        os.close(file)


def signal_one(pid: int, number: int) -> None:
    try:  # noqa: SIM105 - contextlib would cost 3 ms of each start
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def stat_of(process: str) -> list[bytes]:
    """The fields of a process's or thread's `stat` from its state on."""
    file = os.open(f"/proc/{process}/stat", os.O_RDONLY)
    try:
        return os.read(file, 1024).rpartition(b")")[2].split()
    finally:
        os.close(file)


def processes() -> dict[int, tuple[int, bool]]:
    """Every process by id: (parent, whether it can still run code)."""
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = stat_of(name)
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


def keep(channel: socket.socket, user: int | None) -> None:
    """Run the calls that come, one at a time, until the supervisor is gone."""
    prctl(PR_SET_CHILD_SUBREAPER)
    prctl(PR_SET_DUMPABLE, 0)
    while True:
        packet, descriptors = receive(channel)
        if not packet:
            os._exit(0)
        keep_call(channel, user, descriptors)


def keep_call(channel: socket.socket, user: int | None, descriptors: list[int]) -> None:
    status = descriptors[4]
    try:
        pid = start(user, descriptors)
    except Refused as refused:
        channel.send(b"idle")
        report(status, f"refused {refused.number} {refused.what}")
        close_all(descriptors)
        return
    close_all([one for one in descriptors if one != status])
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
    def __init__(self, number: int | None, what: str) -> None:
        super().__init__(number, what)
        self.number = number or errno.EINVAL
        self.what = what


def start(user: int | None, descriptors: list[int]) -> int:
    """Start the command as the calls' user; returns its process id."""
    folder, tell, count, *rest = read_request(descriptors[0])
    argv, env = rest[: int(count)], rest[int(count) :]
    become(user)
    try:
        enter(folder)
        pid = spawn(argv, dict(split(one) for one in env), descriptors[1:4] + descriptors[5:])
        if tell:
            report(descriptors[4], "started ")
        return pid
    finally:
        become_root(user)
        os.chdir("/")


def split(variable: bytes) -> tuple[bytes, bytes]:
    name, _, value = variable.partition(b"=")
    return name, value


def become(user: int | None) -> None:
    """Act as the calls' user; the saved id stays, so that only a started program is that user."""
    if user is not None:
        os.setresgid(user, user, user)
        os.setgroups([])
        os.setresuid(user, user, 0)


def become_root(user: int | None) -> None:
    if user is not None:
        os.setresuid(0, 0, 0)


def read_request(descriptor: int) -> list[bytes]:
    pieces: list[bytes] = []
    while piece := os.pread(descriptor, 1 << 20, sum(len(one) for one in pieces)):
        pieces.append(piece)
    return b"".join(pieces).split(b"\0")


def enter(folder: bytes) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise Refused(error.errno, "cwd") from None


def spawn(argv: list[bytes], env: dict[bytes, bytes], streams: list[int]) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, stream, number) for number, stream in enumerate(streams)]
    refusal: int | None = errno.ENOENT
    for program in candidates(argv[0], env.get(b"PATH", b"/usr/bin:/bin")):
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
                refusal = error.errno
        except ValueError:
            raise Refused(errno.EINVAL, "program") from None
    raise Refused(refusal, "program")


def candidates(program: bytes, path: bytes) -> list[bytes]:
    if b"/" in program:
        return [program]
    return [os.path.join(folder or b".", program) for folder in path.split(b":")]


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
    main(sys.argv[1:])
