# SPDX-License-Identifier: Apache-2.0
"""Too many processes, and processes that do not want to end. argv: CASE."""
import os, signal, sys, threading, time

END = time.time() + 20


def deaf():
    for number in range(1, 65):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass


def wait():
    while time.time() < END: time.sleep(0.2)


def count():
    """How many can be had; says whether the next one was refused."""
    children = []
    for _ in range(150):
        try: pid = os.fork()
        except OSError: break
        if pid == 0:
            time.sleep(20)
            os._exit(0)
        children.append(pid)
    for pid in children: os.kill(pid, signal.SIGKILL)
    print(len(children), "refused" if len(children) < 150 else "unbounded")


def fork():
    while time.time() < END:
        try: os.fork()
        except OSError: time.sleep(0.01)


def fork_deaf():
    """Every member leads a session of its own and ignores what can be ignored."""
    deaf()
    while time.time() < END:
        try:
            if os.fork() == 0: os.setsid()
        except OSError: time.sleep(0.01)


def relay():
    """Each lives for a moment only, and has forked twice before it ends: no list is ever current."""
    deaf()
    while time.time() < END:
        try:
            if os.fork() == 0:
                os.setsid()
                continue
            if os.fork() == 0: continue
            time.sleep(0.002)
            os._exit(0)
        except OSError: time.sleep(0.005)


def guards():
    """Chains in which a child starts a new one as soon as its parent is gone, and the other way."""
    deaf()
    for _ in range(6):
        if os.fork() == 0:
            os.setsid()
            while time.time() < END:
                above = os.getpid()
                try: pid = os.fork()
                except OSError:
                    time.sleep(0.01)
                    continue
                if pid: os.waitpid(pid, 0)
                while pid == 0 and os.getppid() == above: time.sleep(0.002)
    wait()


def spawn():
    while time.time() < END:
        try: os.posix_spawn("/bin/sleep", ["sleep", "20"], {})
        except OSError: time.sleep(0.01)


def threads():
    threading.stack_size(1 << 16)
    started = 0
    while time.time() < END and started < 2000:
        try:
            threading.Thread(target=wait, daemon=True).start()
            started += 1
        except RuntimeError:
            print("refused after", started, flush=True)
            break
    wait()


def zombies():
    """Children that have ended and are never asked how."""
    while time.time() < END:
        try:
            if os.fork() == 0: os._exit(0)
        except OSError: time.sleep(0.05)


def stop_all():
    """Stops whatever else it may, again and again."""
    deaf()
    print("stopping", flush=True)
    while time.time() < END:
        try: os.kill(-1, signal.SIGSTOP)
        except OSError: pass
        time.sleep(0.001)


def stop_self():
    print("before", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)


def deaf_tree():
    deaf()
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            os.fork()
            wait()
            os._exit(0)
    print("started", flush=True)
    wait()


def spin():
    while True: pass


def daemon():
    """Forked twice, its own session, every descriptor closed; it leaves a mark ten times a second."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 256)
            while True:
                with open("/tmp/heartbeat", "a") as file: file.write("x")
                time.sleep(0.1)
        os._exit(0)
    os.wait()
    print("parent done")


def drip():
    """A little output all the time must not put the deadline off."""
    while True:
        os.write(1, b".")
        time.sleep(0.05)


globals()[sys.argv[1]]()
