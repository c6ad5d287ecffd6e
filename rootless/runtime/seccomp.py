"""The default seccomp policy: which system calls a container may make. Ring 1.

What is not listed is refused with EPERM, as Docker does it; what no kernel known here has gets ENOSYS, so
that C libraries fall back to older calls. Numbers come from `linux.abi`, machine code from `linux.bpf`;
the filter is installed by `runtime.stages`. A policy of the user's own: `runtime.seccomp_profile`.

The lists follow the facts of moby's default profile (github.com/moby/profiles, seccomp/default.json).
Stricter on purpose: TIOCSTI and TIOCLINUX are refused (typing into the terminal that `run -it` shares,
CVE-2017-5226), arguments are compared in the width that the kernel uses, and 32-bit programs are refused.
With `nesting` the calls that make containers are allowed too.
"""

from __future__ import annotations

import errno

from rootless.errors import HostUnsupported
from rootless.linux import abi, bpf
from rootless.linux.bpf import ALLOW, EQ, MASKED_EQ, Condition, Rule, errno_action
from rootless.runtime import caps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from rootless.model.spec import Security

    Table = dict[str, list[Rule]]

EPERM = errno_action(errno.EPERM)
ENOSYS = errno_action(errno.ENOSYS)

FILES = """
    access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
    fadvise64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync
    fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstatfs fsync ftruncate futimesat getcwd
    getdents getdents64 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
    lchown lgetxattr link linkat listmount listxattr listxattrat llistxattr lremovexattr lseek lsetxattr
    lstat mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pipe pipe2 pread64
    preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv removexattr
    removexattrat rename renameat renameat2 rmdir sendfile setxattr setxattrat splice stat statfs statmount
    statx symlink symlinkat sync sync_file_range syncfs tee truncate umask unlink unlinkat utime utimensat
    utimes vmsplice write writev
"""
WAITING = """
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
    eventfd eventfd2 io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit poll ppoll pselect6
    select signalfd signalfd4
"""
MEMORY = """
    brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall
    mmap mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
    process_mrelease remap_file_pages
"""
PROCESSES = """
    capget capset execve execveat exit exit_group fork getcpu getegid geteuid getgid getgroups getpgid
    getpgrp getpid getppid getpriority getresgid getresuid getrlimit getrusage getsid gettid getuid
    ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset landlock_restrict_self pause
    pidfd_open pidfd_send_signal prctl prlimit64 process_vm_readv process_vm_writev ptrace restart_syscall
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
    sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp setfsgid setfsuid setgid setgroups setpgid setpriority setregid
    setresgid setresuid setreuid setrlimit setsid setuid sigaltstack sysinfo tgkill times tkill uname
    uprobe uretprobe vfork wait4 waitid
"""
THREADS = """
    arch_prctl futex futex_requeue futex_wait futex_waitv futex_wake get_robust_list get_thread_area
    modify_ldt rseq set_robust_list set_thread_area set_tid_address
"""
TIME = """
    adjtimex alarm clock_adjtime clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep
    setitimer time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create
    timerfd_gettime timerfd_settime
"""
NETWORK = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg
    sendmsg sendto setsockopt shutdown socketpair
"""
MESSAGES = """
    getrandom mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv
    msgsnd semctl semget semop semtimedop shmat shmctl shmdt shmget
"""
ALWAYS = (FILES, WAITING, MEMORY, PROCESSES, THREADS, TIME, NETWORK, MESSAGES)

WITH_CAPABILITY = {
    "DAC_READ_SEARCH": "open_by_handle_at",
    "SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
        lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree open_tree_attr
        perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount2 unshare
    """,
    "SYS_BOOT": "reboot",
    "SYS_CHROOT": "chroot",
    "SYS_MODULE": "delete_module finit_module init_module",
    "SYS_PACCT": "acct",
    "SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "SYS_RAWIO": "ioperm iopl",
    "SYS_TIME": "clock_settime settimeofday",
    "SYS_TTY_CONFIG": "vhangup",
    "SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "SYSLOG": "syslog",
    "BPF": "bpf",
    "PERFMON": "perf_event_open",
}
NESTING = """
    clone clone3 fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree open_tree_attr
    pidfd_getfd pivot_root setdomainname sethostname setns umount2 unshare
"""
"""What an engine inside needs: each acts only on namespaces that the caller owns."""
LATER = "clone3 file_getattr file_setattr listns rseq_slice_yield"
"""Refused with ENOSYS: callers try it first and fall back to something that is allowed."""

NEW_NAMESPACES = 0x7E020000
"""CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET} of clone's flags (linux/sched.h)."""
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""PER_LINUX, PER_LINUX32, both with UNAME26, and the query."""
AF_ALG, AF_VSOCK = 38, 40
TIOCSTI, TIOCLINUX = 0x5412, 0x541C


def compile_filter(security: Security, capabilities: int, machine: str = "") -> bytes:
    """Return the filter of a container as struct sock_filter[], b"" for none.

    Args:
        capabilities: mask of the bounding set (`caps.compute`).
        machine: "x86_64" or "aarch64"; this machine by default.
    Raises:
        HostUnsupported: there is no table for this machine.
        UsageError: the profile that `security.seccomp` names cannot be read or is wrong.
    Cost: below 2 ms.
    """
    if security.seccomp == "unconfined" or (security.privileged and security.seccomp == "default"):
        return b""
    if security.seccomp != "default":
        from rootless.runtime import seccomp_profile  # json and its rules: only who asks for it pays

        return seccomp_profile.compile_profile(security.seccomp, capabilities, machine)
    return assemble(default_table(capabilities, nesting=security.nesting), machine)


def assemble(table: Mapping[str, list[Rule]], machine: str = "", *, default: int = EPERM) -> bytes:
    """Compile a table by name for one machine; names that the machine does not have are left out."""
    module = load_abi(machine)
    numbers: dict[str, int] = module.NUMBERS
    newest = max(numbers.values())
    known = set(numbers.values())
    rules = {numbers[name]: rules for name, rules in table.items() if name in numbers}
    missing = [Rule(ENOSYS)]
    for number in range(newest):
        if number not in known:  # holes of the table: no kernel has them
            rules[number] = missing
    return bpf.assemble(
        rules, audit_arch=module.AUDIT_ARCH, default=default, unknown=ENOSYS, newest=newest, foreign=ENOSYS
    )


def default_table(capabilities: int, *, nesting: bool = False) -> Table:
    """Return the default policy as rules by name of the call; pure."""
    allow, absent = [Rule(ALLOW)], [Rule(ENOSYS)]
    table: Table = {}
    for group in ALWAYS:
        table.update(dict.fromkeys(group.split(), allow))
    table.update(dict.fromkeys(LATER.split(), absent))
    table.update(_by_arguments())
    for name, group in WITH_CAPABILITY.items():
        if caps.has(capabilities, name):
            table.update(dict.fromkeys(group.split(), allow))
    if nesting:
        table.update(dict.fromkeys(NESTING.split(), allow))
    return table


def load_abi(machine: str = "") -> ModuleType:
    """Return the numbers of a machine.

    Raises:
        HostUnsupported: there are none: a filter cannot be made, and none is no substitute.
    """
    try:
        return abi.load(machine)
    except LookupError as exc:
        raise HostUnsupported(
            f"cannot make a seccomp filter: {exc}",
            hint="x86-64 and arm64 have one; --security-opt seccomp=unconfined runs without",
            reference="seccomp-machine",
        ) from exc


def _by_arguments() -> Table:
    return {
        "clone": [Rule(ALLOW, [Condition(0, MASKED_EQ, 0, mask=NEW_NAMESPACES)])],
        "ioctl": [
            Rule(EPERM, [Condition(1, EQ, TIOCSTI)]),
            Rule(EPERM, [Condition(1, EQ, TIOCLINUX)]),
            Rule(ALLOW),
        ],
        "personality": [Rule(ALLOW, [Condition(0, EQ, value)]) for value in PERSONALITIES],
        "socket": [
            Rule(EPERM, [Condition(0, EQ, AF_ALG)]),
            Rule(EPERM, [Condition(0, EQ, AF_VSOCK)]),
            Rule(ALLOW),
        ],
    }
