# SPDX-License-Identifier: Apache-2.0
"""Too much memory, taken in every way. argv: CASE [MiB]. At the end it says how much it got."""
import ctypes, errno, fcntl, mmap, os, socket, struct, sys, time

MOST = int(sys.argv[2]) if len(sys.argv) > 2 else 800
PIECE = b"\xa5" * (1 << 20)


def heap():
    held = []
    while len(held) < MOST: held.append(bytearray(PIECE))
    print("unbounded")


def child():
    """Only a child dies of it; this one goes on and ends well."""
    if os.fork() == 0:
        heap()
        os._exit(0)
    print("child", os.wait()[1])


def grandchildren():
    """Eight at once, each below any limit of one process."""
    for _ in range(8):
        if os.fork() == 0:
            held = [bytearray(PIECE) for _ in range(60)]
            time.sleep(3)
            os._exit(len(held) % 2)
    print(sorted({os.wait()[1] for _ in range(8)}))


def mapped():
    area = mmap.mmap(-1, MOST << 20)
    for place in range(MOST): area[place << 20 : (place + 1) << 20] = PIECE
    print("unbounded")


def anonymous_files():
    descriptor = os.memfd_create("x")
    for _ in range(MOST): os.write(descriptor, PIECE)
    print("unbounded")


def shared_segments():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    for number in range(MOST):
        segment = libc.shmget(0, 1 << 20, 0o1600)
        if segment < 0:
            print("bounded", os.strerror(ctypes.get_errno()), number, "MiB")
            return
        address = libc.shmat(segment, None, 0)
        if address in (None, ctypes.c_void_p(-1).value):
            print("bounded", os.strerror(ctypes.get_errno()), number, "MiB")
            return
        ctypes.memset(address, 1, 1 << 20)
        libc.shmdt(ctypes.c_void_p(address))
    print("unbounded")


def pipes():
    total = 0
    try:
        for _ in range(MOST):
            _, end = os.pipe()
            os.set_blocking(end, False)
            try: fcntl.fcntl(end, 1031, 1 << 20)
            except OSError: pass
            try:
                while True: total += os.write(end, PIECE)
            except BlockingIOError: pass
        print("unbounded" if total > 150 << 20 else "bounded by the kernel", total >> 20, "MiB")
    except OSError as error:
        print("bounded", error.strerror, total >> 20, "MiB")


def sockets():
    total, held = 0, []
    try:
        for _ in range(8 * MOST):
            pair = socket.socketpair()
            held.append(pair)
            pair[0].setblocking(False)
            pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            try:
                while True: total += pair[0].send(PIECE)
            except BlockingIOError: pass
        print("unbounded" if total > 150 << 20 else "bounded by the kernel", total >> 20, "MiB")
    except OSError as error:
        print("bounded", error.strerror, total >> 20, "MiB")


def scratch():
    """Fill every place that can be written; none may be so large that the next call dies of it."""
    for folder in ("/tmp", "/dev/shm", "/run", "/var/tmp", "/dev", "/", "/dev/mqueue", "."):
        written = 0
        try:
            with open(os.path.join(folder, "fill"), "wb", buffering=0) as file:
                while written < MOST: written += bool(file.write(PIECE))
            print("unbounded", folder)
        except OSError as error:
            print("bounded", folder, errno.errorcode[error.errno], written)


def messages():
    """Queues of the kernel's, which stay when their maker is gone."""
    libc, total = ctypes.CDLL(None, use_errno=True), 0
    packet = ctypes.create_string_buffer(struct.pack("l", 1) + b"m" * 8000)
    for _ in range(MOST * 64):
        queue = libc.msgget(0, 0o1600)
        if queue < 0: break
        while libc.msgsnd(queue, packet, 8000, 0o4000) == 0: total += 8000
    print("unbounded" if total > 150 << 20 else "bounded", os.strerror(ctypes.get_errno()), total >> 20, "MiB")


globals()[sys.argv[1]]()
