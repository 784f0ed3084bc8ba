# SPDX-License-Identifier: Apache-2.0
"""Prints, as one object of JSON, what a process here may do: a value, `open`, or an errno's name."""
import ctypes, errno, json, os, resource, socket

LIBC = ctypes.CDLL(None, use_errno=True)
FOUND = {}


def probe(name, work):
    reading, writing = os.pipe()
    if os.fork() == 0:
        try: said = work()
        except OSError as error: said = errno.errorcode.get(error.errno, str(error.errno))
        except BaseException as error: said = type(error).__name__
        os.write(writing, json.dumps("open" if said is None or said is True else said).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file: said = file.read()
    os.wait()
    FOUND[name] = json.loads(said) if said else "killed"


def call(number, *arguments):
    def work():
        if LIBC.syscall(number, *arguments) < 0: raise OSError(ctypes.get_errno(), "")
    return work


def opened(path, mode="rb"):
    def work():
        with open(path, mode) as file:
            if mode == "rb": file.read(1)
    return work


def made(family, kind, protocol=0):
    return lambda: socket.socket(family, kind, protocol) and None


status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
FOUND["uid"], FOUND["gid"], FOUND["groups"] = os.getuid(), os.getgid(), os.getgroups()
for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"): FOUND[name] = int(status[name], 16)
for name in ("NoNewPrivs", "Seccomp"): FOUND[name] = int(status[name])
for name, number in (("user", 0x10000000), ("mount", 0x20000), ("network", 0x40000000), ("pid", 0x20000000),
                     ("cgroup", 0x2000000), ("ipc", 0x8000000), ("uts", 0x4000000), ("time", 0x80)):
    probe(f"unshare {name}", call(272, number))
probe("clone3", call(435, 0, 0))
probe("mount", call(165, b"none", b"/tmp", b"tmpfs", 0, None))
probe("pivot_root", call(155, b"/tmp", b"/tmp"))
probe("chroot", lambda: os.chroot("/tmp"))
probe("keyctl", call(250, 0, -3, 0))
probe("add_key", call(248, b"user", b"planloop-test", b"x", 1, -2))
probe("bpf", call(321, 0, None, 0))
probe("userfaultfd", call(323, 0))
probe("io_uring", call(425, 1, None))
probe("perf", call(298, None, 0, -1, -1, 0))
probe("ptrace", call(101, 0, 0, 0, 0))
probe("handles", call(265 if os.uname().machine == "aarch64" else 304, 0, None, 0))
probe("quota", call(179, 0, None, 0, None))
probe("reboot", call(169, 0, 0, 0, None))
probe("module", call(175, None, 0, b""))
probe("kexec", call(246, 0, 0, None, 0))
probe("syslog", call(103, 3, None, 0))
probe("acct", call(163, None))
probe("swapon", call(167, None, 0))
probe("settime", call(227, 0, None))
probe("hostname", call(170, b"x", 1))
probe("unknown call", call(5000))
probe("typing", lambda: __import__("fcntl").ioctl(0, 0x5412, b"x"))
probe("raw", made(socket.AF_INET, socket.SOCK_RAW, 1))
probe("packet", made(17, socket.SOCK_RAW))
probe("vsock", made(40, socket.SOCK_STREAM))
probe("alg", made(38, socket.SOCK_SEQPACKET))
probe("netlink audit", made(16, socket.SOCK_RAW, 9))
probe("unix", made(socket.AF_UNIX, socket.SOCK_STREAM))
probe("interfaces", lambda: sorted(name for _, name in socket.if_nameindex()))
probe("setuid 0", lambda: os.setuid(0))
probe("setuid other", lambda: os.setuid(12345))
probe("chown", lambda: (opened("/tmp/own", "w")(), os.chown("/tmp/own", 1234, 1234))[1])
probe("mknod", lambda: os.mknod("/tmp/null", 0o20666, os.makedev(1, 3)))
probe("mkfifo", lambda: os.mkfifo("/tmp/fifo"))
for path in ("/planloop", "/run/planloop/planloop", "/usr/planloop", "/etc/planloop", "/dev/planloop", "/run/planloop-x", "/proc/sys/kernel/core_pattern",
             "/proc/sysrq-trigger", "/sys/fs/cgroup/planloop"):
    probe(f"write {path}", opened(path, "w"))
for path in ("/proc/kcore", "/dev/mem", "/dev/kmsg", "/dev/vda", "/proc/1/mem", "/proc/1/environ", "/proc/1/maps",
             "/dev/tty"):
    probe(f"read {path}", opened(path))
FOUND["host"] = os.uname().nodename
FOUND["umask"] = os.umask(0)
FOUND["not nodev"] = sorted({line.split()[4] for line in open("/proc/self/mountinfo") if "nodev" not in line})
FOUND["own groups"] = sorted({line.strip().split(":", 2)[2] for line in open("/proc/self/cgroup")})
FOUND["first"] = open("/proc/1/cmdline").read().replace("\0", " ")[:300]
FOUND["processes"] = sorted(int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid())
FOUND["devices"] = sorted(os.listdir("/dev"))
FOUND["root"] = sorted(os.listdir("/"))
FOUND["descriptors"] = sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1]
FOUND["environment"] = sorted(os.environ)
FOUND["terminal"] = int(open("/proc/self/stat").read().rpartition(")")[2].split()[4])
FOUND["mounts"] = sorted({line.split()[4] for line in open("/proc/self/mountinfo")})
FOUND["not nosuid"] = sorted(line.split()[4] for line in open("/proc/self/mountinfo") if "nosuid" not in line)
FOUND["writable mounts"] = sorted({line.split()[4] for line in open("/proc/self/mountinfo") if line.split()[5].startswith("rw")})
for name in ("NPROC", "CORE", "AS", "NOFILE"): FOUND[f"limit {name}"] = list(resource.getrlimit(getattr(resource, "RLIMIT_" + name)))
print(json.dumps(FOUND))
