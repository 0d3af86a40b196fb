"""Tries what a daemon that was taken over would try, and says of each attempt whether it was let: `exec allowed`."""

import ctypes
import errno
import mmap
import os
import platform
import socket
import subprocess
import sys

KEYCTL = {"x86_64": 250, "aarch64": 219}[platform.machine()]
IO_URING_SETUP = 425

libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    if function(*arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def write(directory):
    path = os.path.join(directory, "cloakroom-probe")
    with open(path, "w") as file:
        file.write("x")
    os.unlink(path)


def others():
    if not os.path.exists("/proc/1/status"):
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


ATTEMPTS = {
    "exec": lambda: subprocess.run(["/bin/true"], check=True),
    "write-etc": lambda: write("/etc"),
    "write-usr": lambda: write("/usr"),
    "write-var": lambda: write("/var/lib"),
    "write-run": lambda: write("/run"),
    "namespace-user": lambda: call(libc.unshare, 0x10000000),
    "namespace-mount": lambda: call(libc.unshare, 0x00020000),
    "namespace-net": lambda: call(libc.unshare, 0x40000000),
    "writable-code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC).close(),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "raw-packets": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close(),
    "keyring": lambda: call(libc.syscall, KEYCTL, 0, -3, 1),  # KEYCTL_GET_KEYRING_ID of the session's
    "io-uring": lambda: call(libc.syscall, IO_URING_SETUP, 1, (ctypes.c_char * 120)()),
    "become-root": lambda: call(libc.setuid, 0),
    "cloud-metadata": lambda: socket.create_connection(("169.254.169.254", 80), timeout=2).close(),
    "other-processes": others,
    "secret-at-rest": lambda: open("/etc/cloakroom/client_secret").close(),
}

# Forked for each, because some change the process for good when they are let.
for name, attempt in ATTEMPTS.items():
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            attempt()
            print(name, "allowed", flush=True)
        except OSError as refusal:
            print(name, "refused", errno.errorcode.get(refusal.errno, refusal), flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status != 0:
        print(name, "ended with", status, flush=True)
