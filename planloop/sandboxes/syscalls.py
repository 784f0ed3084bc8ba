"""Names and numbers of Linux's system calls, up to Linux 6.18."""

from __future__ import annotations

import functools
from collections.abc import Mapping

LAST = 469
"""The newest system call that the tables know, on every kind of machine."""

_NUMBERS = """
_sysctl 156 - | acct 163 89 | add_key 248 217 | adjtimex 159 171 | bpf 321 280 | chroot 161 51
clock_adjtime 305 266 | clock_settime 227 112 | clone 56 220 | clone3 435 435
delete_module 176 106 | fanotify_init 300 262 | fcntl 72 25 | finit_module 313 273
fsconfig 431 431 | fsmount 432 432 | fsopen 430 430 | fspick 433 433 | init_module 175 105
io_uring_enter 426 426 | io_uring_register 427 427 | io_uring_setup 425 425 | ioctl 16 29
ioperm 173 - | iopl 172 -
ioprio_set 251 30 | kcmp 312 272 | kexec_file_load 320 294 | kexec_load 246 104 | keyctl 250 219
lookup_dcookie 212 18 | lsm_set_self_attr 460 460 | migrate_pages 256 238 | modify_ldt 154 -
mount 165 40 | mount_setattr 442 442 | move_mount 429 429 | move_pages 279 239 | msgget 68 186
name_to_handle_at 303 264 | nfsservctl 180 42 | open_by_handle_at 304 265 | open_tree 428 428
open_tree_attr 467 467 | perf_event_open 298 241 | personality 135 92 | pidfd_getfd 438 438
pivot_root 155 41 | prlimit64 302 261 | process_madvise 440 440 | process_mrelease 448 448
process_vm_readv 310 270 | process_vm_writev 311 271 | ptrace 101 117 | quotactl 179 60
quotactl_fd 443 443 | reboot 169 142 | request_key 249 218 | sched_setaffinity 203 122
sched_setattr 314 274 | sched_setparam 142 118 | sched_setscheduler 144 119 | semget 64 190
setdomainname 171 162 | sethostname 170 161 | setns 308 268 | setpriority 141 140
settimeofday 164 170 | shmget 29 194 | socket 41 198 | socketpair 53 199 | swapoff 168 225
swapon 167 224 | sysfs 139 - | syslog 103 116 | umount2 166 39 | unshare 272 97 | uselib 134 -
userfaultfd 323 282 | ustat 136 - | vhangup 153 58
"""
"""Of those that sandboxes refuse, all or some: name, on x86_64, on aarch64."""

_ORDINARY = """
accept accept4 access alarm arch_prctl bind brk cachestat capget capset chdir chmod chown
clock_getres clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup
dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd
eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fallocate fanotify_mark
fchdir fchmod fchmodat fchmodat2 fchown fchownat fdatasync fgetxattr file_getattr
file_setattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex
futex_requeue futex_wait futex_waitv futex_wake futimesat get_mempolicy get_robust_list
get_thread_area getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer
getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit
getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr getxattrat
inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents
io_pgetevents io_setup io_submit ioprio_get kill landlock_add_rule landlock_create_ruleset
landlock_restrict_self lchown lgetxattr link linkat listen listmount listxattr listxattrat
llistxattr lremovexattr lseek lsetxattr lsm_get_self_attr lsm_list_modules lstat madvise
map_shadow_stack mbind membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat
mlock mlock2 mlockall mmap mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend
mq_unlink mremap mseal msgctl msgrcv msgsnd msync munlock munlockall munmap nanosleep
newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc
pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2 pselect6 pwrite64 pwritev
pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages
removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction
rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
sched_getparam sched_getscheduler sched_rr_get_interval sched_yield seccomp select semctl
semop semtimedop sendfile sendmmsg sendmsg sendto set_mempolicy set_mempolicy_home_node
set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer
setpgid setregid setresgid setresuid setreuid setrlimit setsid setsockopt setuid setxattr
setxattrat shmat shmctl shmdt shutdown sigaltstack signalfd signalfd4 splice stat statfs
statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time
timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create
timerfd_gettime timerfd_settime times tkill truncate umask uname unlink unlinkat utime utimensat
utimes vfork vmsplice wait4 waitid write writev
"""
"""All others that programs of today may use."""


@functools.cache
def numbers(machine: str) -> Mapping[str, int]:
    """The numbers of refused system calls on a kind of machine: `x86_64` or `aarch64`."""
    column = ("x86_64", "aarch64").index(machine) + 1
    rows = [entry.split() for entry in _NUMBERS.replace("\n", "|").split("|") if entry.strip()]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


@functools.cache
def ordinary_names() -> frozenset[str]:
    """The names of system calls that are allowed whatever their arguments."""
    return frozenset(_ORDINARY.split())
