"""System calls as programs make them. Each case runs in an empty directory and
says in one line what it saw: the same on a mount as on ext4, but for the cases
whose answer posix_test.go states.

usage: posix.py DIRECTORY [CASE]
"""
import ctypes, errno, fcntl, mmap, os, signal, socket, stat, struct, sys, time

libc = ctypes.CDLL(None, use_errno=True)
NOBODY = 65534


def no(f, *a, **k):
    """The result of a call, or the name of its errno."""
    try:
        return f(*a, **k)
    except OSError as e:
        return errno.errorcode[e.errno]


def c(name, *a):
    a = [ctypes.c_char_p(x.encode()) if isinstance(x, str) else ctypes.c_long(x) for x in a]
    getattr(libc, name).restype = ctypes.c_int
    r = getattr(libc, name)(*a)
    return errno.errorcode[ctypes.get_errno()] if r < 0 else r


def put(name, data=b"", mode=0o644):
    fd = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode)
    os.write(fd, data)
    os.close(fd)
    os.chmod(name, mode)


def get(name):
    with open(name, "rb") as f:
        return f.read()


def mode(name):
    return oct(stat.S_IMODE(os.lstat(name).st_mode))


def child(f, uid=None):
    """Runs f in a process of its own, as another user if uid is given; its result."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            os.write(w, repr(no(f)).encode())
        except BaseException as e:
            os.write(w, repr(e).encode())
        os._exit(0)
    os.close(w)
    with os.fdopen(r, "rb") as f:
        out = f.read().decode()
    os.waitpid(pid, 0)
    return out


def procs(n, f):
    pids = []
    for i in range(n):
        pid = os.fork()
        if pid == 0:
            try:
                f(i)
                os._exit(0)
            finally:
                os._exit(1)
        pids.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in pids]


def suid_write():
    out = []
    for m in (0o6755, 0o2745, 0o4711, 0o2777):
        put("f", b"x", m | 0o022)
        fd = os.open("f", os.O_WRONLY)
        out.append(child(lambda: os.write(fd, b"y"), NOBODY))
        os.close(fd)
        out.append(mode("f"))
    put("f", b"x", 0o6755)
    fd = os.open("f", os.O_WRONLY)
    os.write(fd, b"y")
    return out + [mode("f")]


def suid_truncate():
    out = []
    for how in (lambda: os.truncate("f", 1), lambda: os.truncate("f", 0), lambda: os.close(os.open("f", os.O_WRONLY | os.O_TRUNC))):
        put("f", b"xyz", 0o6777)
        out += [child(how, NOBODY), mode("f")]
        put("f", b"xyz", 0o6777)
        out += [no(how), mode("f")]
    return out


def suid_chown():
    out = []
    for m in (0o6755, 0o2745, 0o4644, 0o6777):
        put("f", b"x", m)
        os.chown("f", NOBODY, 65533)
        st = os.stat("f")
        out.append((mode("f"), st.st_uid, st.st_gid))
        os.unlink("f")
    return out


def chmod_by_other():
    put("f", b"", 0o644)
    os.chown("f", NOBODY, NOBODY)
    return [child(lambda: os.chmod("f", 0o4755), NOBODY), mode("f"), child(lambda: os.chmod("f", 0o600), 65533), mode("f"),
            child(lambda: os.chown("f", 0, 0), NOBODY), os.stat("f").st_uid]


def name_max():
    out = []
    for n in ("a" * 255, "a" * 256, "ä" * 127, "ä" * 128):
        out.append([no(put, n), no(os.mkdir, n + "x"), no(os.symlink, "t", n + "y"), no(os.rename, n, n[:-1]),
                    no(os.stat, n[:-1]) != "ENOENT", no(os.unlink, n)])
    return out


def sticky():
    os.mkdir("d")
    os.chmod("d", 0o1777)
    put("d/root")
    out = [mode("d"), child(lambda: os.unlink("d/root"), NOBODY), child(lambda: os.rename("d/root", "d/x"), NOBODY)]
    child(lambda: put("d/theirs"), NOBODY)
    return out + [os.stat("d/theirs").st_uid, child(lambda: os.unlink("d/theirs"), 65533), child(lambda: os.unlink("d/theirs"), NOBODY)]


def setgid_directory():
    os.mkdir("d")
    os.chown("d", 0, 4242)
    os.chmod("d", 0o2775)
    put("d/f")
    os.mkdir("d/e")
    return [os.stat("d/f").st_gid, os.stat("d/e").st_gid, mode("d/e")]


def renameat2(a, b, flags):
    return c("renameat2", -100, a, -100, b, flags)


def noreplace():
    put("a", b"a")
    put("b", b"b")
    os.mkdir("d")
    return [renameat2("a", "b", 1), renameat2("a", "d", 1), renameat2("d", "a", 1), renameat2("a", "c", 1), get("c"),
            renameat2("d", "e", 1), renameat2("none", "x", 1), renameat2("c", "b", 3), sorted(os.listdir("."))]


def exchange():
    put("a", b"a")
    put("b", b"b")
    os.makedirs("d/x")
    os.mkdir("e")
    put("e/f", b"ef")
    os.symlink("a", "l")
    out = [renameat2("a", "b", 2), get("a"), get("b"), renameat2("d", "e", 2), os.listdir("d"), os.listdir("e"),
           renameat2("a", "d", 2), os.listdir("a"), get("d"), renameat2("l", "b", 2), os.readlink("b"), get("l"),
           renameat2("a", "none", 2), renameat2("a", "a/f", 2)]
    return out + [sorted(os.listdir("."))]


def rename_rules():
    put("f", b"f")
    os.makedirs("d/e")
    os.mkdir("x")
    return [no(os.rename, "f", "d"), no(os.rename, "d", "f"), no(os.rename, "d", "d/e/z"), no(os.rename, "x", "d"), no(os.rename, "d", "x"),
            no(os.rename, "f", "f"), no(os.rename, "f/", "g"), no(os.rename, "x", "y/"), sorted(os.listdir("."))]


def fallocate():
    out = []
    # reserve, keep size, punch, zero, zero and keep; collapse and insert are another thing's
    for m, off, n in ((0, 0, 100), (1, 200, 100), (0, 100, 100), (3, 10, 20), (16, 50, 20), (17, 60, 1000), (2, 0, 5), (64, 0, 5), (0, -1, 5), (0, 0, 0)):
        put("f", bytes(range(65, 91)) * 6)
        fd = os.open("f", os.O_RDWR)
        r = c("fallocate", fd, m, off, n)
        if m not in (8, 32, 64) or r != 0:
            out.append((r, os.fstat(fd).st_size, os.pread(fd, 400, 0)))
        os.close(fd)
    fd = os.open("f", os.O_RDONLY)
    return out + [c("fallocate", fd, 0, 0, 5), no(os.posix_fallocate, os.open("g", os.O_CREAT | os.O_RDWR), 0, 4096), os.stat("g").st_size]


def fallocate_collapse():
    put("f", b"x" * 65536)
    fd = os.open("f", os.O_RDWR)
    return [c("fallocate", fd, 8, 0, 4096), c("fallocate", fd, 32, 0, 4096), os.fstat(fd).st_size]


def copy_range():
    put("a", bytes(range(256)) * 1000)
    src, dst = os.open("a", os.O_RDONLY), os.open("b", os.O_CREAT | os.O_RDWR)
    n = 0
    while n < 200000:
        got = os.copy_file_range(src, dst, 200000 - n)
        if got == 0:
            break
        n += got
    out = [n, os.pread(dst, 300000, 0) == get("a")[:200000], os.copy_file_range(src, dst, 10, 5, 0), os.pread(dst, 12, 0)]
    return out + [no(os.copy_file_range, dst, src, 10)]


def seek_hole():
    put("f", b"x" * 5000)
    fd = os.open("f", os.O_RDONLY)
    return [os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 0, os.SEEK_HOLE), os.lseek(fd, 4999, os.SEEK_DATA), no(os.lseek, fd, 5000, os.SEEK_DATA),
            no(os.lseek, fd, 5000, os.SEEK_HOLE), no(os.lseek, fd, -1, os.SEEK_SET), os.lseek(fd, 10, os.SEEK_END)]


def sparse():
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"end", 1 << 20)
    os.ftruncate(fd, (1 << 20) + 100)
    return [os.fstat(fd).st_size, os.pread(fd, 4, (1 << 20) - 2), os.pread(fd, 200, (1 << 20) + 3) == b"\0" * 97]


def append_processes():
    put("log")

    def write(i):
        fd = os.open("log", os.O_WRONLY | os.O_APPEND)
        for k in range(100):
            os.write(fd, b"%d %d %s\n" % (i, k, b"x" * (i * 7)))
        os.close(fd)
    codes = procs(6, write)
    lines = get("log").decode().splitlines()
    order = all([int(l.split()[1]) for l in lines if l.startswith("%d " % i)] == list(range(100)) for i in range(6))
    return [codes, len(lines), len(set(lines)), order]


def tail():
    put("log", b"0\n")
    r, w = os.pipe()
    ack_r, ack_w = os.pipe()
    pid = os.fork()
    if pid == 0:  # reads what is new each time it is told that there is something
        fd, seen = os.open("log", os.O_RDONLY), b""
        for i in range(50):
            os.read(r, 1)
            seen += os.read(fd, 1 << 16)
            os.write(ack_w, b"y" if os.fstat(fd).st_size == len(seen) else b"n")
        os._exit(0 if seen == b"".join(b"%d\n" % k for k in range(51)) else 1)
    fd, acks = os.open("log", os.O_WRONLY | os.O_APPEND), b""
    for i in range(1, 51):
        os.write(fd, b"%d\n" % i)
        os.write(w, b".")
        acks += os.read(ack_r, 1)
    return [acks, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]


def unlinked_open():
    fd = os.open("new", os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600)
    os.write(fd, b"never named")
    os.unlink("new")
    os.write(fd, b" again")
    out = [os.pread(fd, 100, 0), os.fstat(fd).st_nlink, os.fstat(fd).st_size, oct(os.fstat(fd).st_mode)]
    put("old", b"named", 0o640)
    time.sleep(.3)
    r, w = os.open("old", os.O_RDONLY), os.open("old", os.O_RDWR)
    os.unlink("old")
    os.pwrite(w, b"NAMED and more", 0)
    os.fchmod(w, 0o600)
    out += [os.pread(r, 100, 0), os.fstat(r).st_size, os.fstat(r).st_nlink, oct(os.fstat(w).st_mode)]
    os.ftruncate(w, 3)
    out += [os.pread(r, 100, 0), os.listdir("."), no(os.open, "old", os.O_RDONLY)]
    os.close(r)
    return out + [os.pread(w, 100, 0)]


def rename_over_open():
    put("a", b"old content")
    time.sleep(.3)
    r, w = os.open("a", os.O_RDONLY), os.open("a", os.O_RDWR)
    put("b", b"new")
    os.rename("b", "a")
    os.pwrite(w, b"OLD", 0)
    return [os.pread(r, 100, 0), os.fstat(r).st_nlink, get("a"), os.fstat(r).st_ino != os.stat("a").st_ino, os.listdir(".")]


def tmpfile():
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, b"all of it")
    out = [os.fstat(fd).st_nlink, oct(os.fstat(fd).st_mode), os.listdir(".")]
    out.append(c("linkat", -100, "/proc/self/fd/%d" % fd, -100, "named", 0x400))
    out += [os.fstat(fd).st_nlink, get("named"), mode("named")]
    os.write(fd, b", and more")
    os.close(fd)
    out.append(get("named"))
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600)
    out.append(c("linkat", -100, "/proc/self/fd/%d" % fd, -100, "not", 0x400))
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
    out.append(c("linkat", -100, "/proc/self/fd/%d" % fd, -100, "named", 0x400))
    return out + [os.listdir(".")]


def shared_mmap():
    put("f", b"\0" * 8192)
    fd = os.open("f", os.O_RDWR)
    m = mmap.mmap(fd, 8192)

    def other(_):
        f = os.open("f", os.O_RDWR)
        n = mmap.mmap(f, 8192)
        n[0:5] = b"child"
        n[4096:4100] = b"page"
        n.flush()
    codes = procs(1, other)
    out = [codes, m[0:5], m[4096:4100], os.pread(fd, 5, 0)]
    m[10:16] = b"parent"
    m.flush()
    out.append(get("f")[10:16])
    os.pwrite(fd, b"written", 100)
    out.append(m[100:107])
    p = mmap.mmap(fd, 8192, access=mmap.ACCESS_COPY)
    p[0:5] = b"mine!"
    return out + [get("f")[0:5], m[0:5]]


def locks():
    put("f")
    fd = os.open("f", os.O_RDWR)
    out = []

    def other(f):
        return child(lambda: f(os.open("f", os.O_RDWR)))
    fcntl.flock(fd, fcntl.LOCK_EX)
    out.append(other(lambda g: fcntl.flock(g, fcntl.LOCK_SH | fcntl.LOCK_NB)))
    fcntl.flock(fd, fcntl.LOCK_SH)
    out += [other(lambda g: fcntl.flock(g, fcntl.LOCK_SH | fcntl.LOCK_NB)), other(lambda g: fcntl.flock(g, fcntl.LOCK_EX | fcntl.LOCK_NB))]
    fcntl.flock(fd, fcntl.LOCK_UN)
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 100)
    out += [other(lambda g: fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 105)), other(lambda g: fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 110))]
    os.close(os.open("f", os.O_RDONLY))  # POSIX: closing any descriptor drops the locks
    out.append(other(lambda g: fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 105)))
    ofd = 37  # F_OFD_SETLK
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 10, 0)
    fcntl.fcntl(fd, ofd, lock)
    out.append(no(fcntl.fcntl, os.open("f", os.O_RDWR), ofd, lock) in ("EAGAIN", "EACCES"))
    out.append(other(lambda g: fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 5)))
    return out


def lock_waits():
    put("f")
    fd = os.open("f", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, lambda *_: os._exit(7))
        g = os.open("f", os.O_RDWR)
        os.write(w, b".")
        fcntl.flock(g, fcntl.LOCK_EX)
        os._exit(0)
    os.read(r, 1)
    still = os.waitpid(pid, os.WNOHANG)[0]
    fcntl.flock(fd, fcntl.LOCK_UN)
    return [still, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]


def direct():
    fd = os.open("f", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
    m = mmap.mmap(-1, 8192)
    m[:] = b"d" * 8192
    out = [os.writev(fd, [m]), os.fstat(fd).st_size]
    r = os.open("f", os.O_RDONLY | os.O_DIRECT)
    n = mmap.mmap(-1, 8192)
    return out + [os.preadv(r, [n], 0), n[:] == m[:], get("f") == m[:]]


def sendfile():
    put("f", b"sent" * 10000)
    a, b = socket.socketpair()
    fd = os.open("f", os.O_RDONLY)
    pid = os.fork()
    if pid == 0:
        a.close()
        off = 0
        while off < 40000:
            off += os.sendfile(b.fileno(), fd, off, 40000 - off)
        os._exit(0)
    b.close()
    got = b""
    while part := a.recv(1 << 16):
        got += part
    os.waitpid(pid, 0)
    out, g = [got == get("f")], os.open("g", os.O_CREAT | os.O_WRONLY)
    return out + [os.sendfile(g, fd, 0, 40000), get("g") == get("f")]


def times():
    put("f", b"x")
    os.utime("f", ns=(10**9, 2 * 10**9 + 5))
    out = [os.stat("f").st_atime_ns, os.stat("f").st_mtime_ns]
    now, omit = (1 << 30) - 1, (1 << 30) - 2
    lib = lambda a, m: libc.utimensat(-100, b"f", struct.pack("qqqq", 7, a, 7, m), 0)
    lib(omit, 9)
    out += [os.stat("f").st_atime_ns, os.stat("f").st_mtime_ns]
    lib(11, omit)
    out += [os.stat("f").st_atime_ns, os.stat("f").st_mtime_ns]
    lib(omit, omit)
    out += [os.stat("f").st_atime_ns, os.stat("f").st_mtime_ns]
    lib(now, now)
    st = os.stat("f")
    out += [abs(st.st_atime - time.time()) < 60, abs(st.st_mtime - time.time()) < 60]
    os.utime("f", (2**32, 2**32))
    st = os.stat("f")
    out += [st.st_mtime, st.st_ctime < 2**32]
    os.symlink("f", "l")
    os.utime("l", (5, 6), follow_symlinks=False)
    os.mkdir("d")
    os.utime("d", (5, 6))
    return out + [os.lstat("l").st_mtime, os.stat("d").st_mtime, os.stat("d").st_atime]


def readdir_remove():
    names = {"f%d" % i for i in range(500)}
    for n in names:
        put(n)
    seen = []
    with os.scandir(".") as d:
        for e in d:
            seen.append(e.name)
            if len(seen) % 2:
                os.unlink(e.name)
    left = set(os.listdir("."))
    return [len(seen), set(seen) == names, len(left)]


def readdir_add():
    for i in range(300):
        put("f%d" % i)
    seen = []
    with os.scandir(".") as d:
        for k, e in enumerate(d):
            seen.append(e.name)
            if k < 100:
                put("g%d" % k)
    return [len([s for s in seen if s[0] == "f"]), len(seen) == len(set(seen))]


def deep():
    here = os.getcwd()
    for i in range(60):
        os.mkdir("d" * 100)
        os.chdir("d" * 100)
    put("bottom", b"deep")
    out = [get("bottom"), len(os.listdir("."))]
    os.chdir(here)
    return out + [no(os.stat, "/".join(["d" * 100] * 60)), no(os.stat, "/".join(["d" * 100] * 30)) != "ENOENT"]


def hard_links():
    put("f")
    os.mkdir("d")
    return [no(os.link, "f", "g"), no(os.link, "d", "e"), no(os.link, "none", "g")]


def statfs():
    s = os.statvfs(".")
    return [s.f_namemax, s.f_bsize, s.f_blocks > 0, s.f_bavail > 0, s.f_files > 0]


def xattrs():
    put("f")
    os.mkdir("d")
    out = [no(os.getxattr, "f", "user.a"), os.setxattr("f", "user.a", b"v"), os.getxattr("f", "user.a"), os.setxattr("d", "user.d", b""), os.listxattr("d"),
           no(os.setxattr, "f", "user.a", b"", os.XATTR_CREATE), no(os.setxattr, "f", "user.b", b"", os.XATTR_REPLACE),
           os.setxattr("f", "user.é", b"\0\xff"), sorted(os.listxattr("f")), no(os.removexattr, "f", "user.none"), os.removexattr("f", "user.a"),
           os.listxattr("f"), no(os.setxattr, "f", "user." + "n" * 250, b"x"), no(os.setxattr, "f", "user." + "n" * 251, b"x"),
           no(os.setxattr, "f", "user.big", b"x" * 2000), no(os.setxattr, "f", "user.huge", b"x" * 65537), no(os.setxattr, "f", "nonsense", b"x")]
    put("readonly", mode=0o444)
    os.symlink("f", "l")
    return out + [no(os.setxattr, "l", "user.a", b"", 0, follow_symlinks=False), child(lambda: os.setxattr("readonly", "user.a", b""), NOBODY)]


def special_files():
    os.mkfifo("p", 0o640)
    s = socket.socket(socket.AF_UNIX)
    s.bind("s")
    s.listen()

    def client(_):
        k = socket.socket(socket.AF_UNIX)
        k.connect("s")
        k.sendall(b"hello")
        with open("p", "w") as f:
            f.write("through the pipe")
    pid = os.fork()
    if pid == 0:
        client(0)
        os._exit(0)
    conn, _ = s.accept()
    out = [conn.recv(10), get("p"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]
    out += [oct(os.lstat("p").st_mode), stat.filemode(os.lstat("s").st_mode)[0], no(os.mkfifo, "p"), no(os.rename, "p", "q"), sorted(os.listdir("."))]
    put("f", b"f")
    out += [no(os.rename, "f", "q"), get("q"), no(os.rename, "s", "q"), stat.S_ISSOCK(os.lstat("q").st_mode), no(os.unlink, "q"), os.listdir(".")]
    os.mkdir("d")
    os.mkfifo("d/p")
    return out + [no(os.rmdir, "d"), no(os.unlink, "d/p"), no(os.rmdir, "d")]


def devices():
    os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    st = os.lstat("null")
    return [stat.S_ISCHR(st.st_mode), os.major(st.st_rdev), os.minor(st.st_rdev), child(lambda: os.mknod("n", stat.S_IFCHR | 0o666, os.makedev(1, 3)), NOBODY)]


def link_counts():
    os.makedirs("d/a/b")
    os.mkdir("d/c")
    put("d/f")
    out = [os.stat("d").st_nlink, os.stat("d/a").st_nlink]
    os.rename("d/c", "d/a/c")
    out += [os.stat("d").st_nlink, os.stat("d/a").st_nlink]
    os.rmdir("d/a/b")
    return out + [os.stat("d/a").st_nlink]


def remove_tree():
    os.makedirs("d/e/f")
    for n in ("d/1", "d/e/2", "d/e/f/3"):
        put(n, b"x")
    time.sleep(.3)
    return [os.system("rm -r d 2>&1"), os.path.exists("d")]


def open_flags():
    put("f", b"x", 0o644)
    os.mkdir("d")
    os.symlink("f", "l")
    os.symlink("none", "dangling")
    return [no(os.open, "f", os.O_CREAT | os.O_EXCL), no(os.open, "d", os.O_WRONLY), no(os.open, "l", os.O_NOFOLLOW), no(os.open, "f", os.O_DIRECTORY),
            no(os.open, "dangling", os.O_CREAT | os.O_EXCL), no(os.open, "dangling", os.O_RDONLY), no(os.open, "f/x", os.O_RDONLY), no(os.open, "d", os.O_CREAT)]


SQL = """
import sqlite3, sys
db = sqlite3.connect("db", isolation_level=None)
db.execute("pragma journal_mode=" + sys.argv[1])
db.execute("pragma synchronous=off")  # what is killed is a process, not the machine
db.execute("create table if not exists t(i integer primary key, v text)")
n = db.execute("select count(*) from t").fetchone()[0]
while n < 1000:
    db.execute("begin immediate")
    db.execute("insert into t values(?, ?)", (n, "v%d" % n * 10))
    db.execute("commit")
    n += 1
    print(n, flush=True)
"""


def sqlite(journal):
    import sqlite3, subprocess
    told = 0
    for kill_at in (150, 400, None):  # SIGKILL in the middle, twice; then to the end
        p = subprocess.Popen([sys.executable, "-c", SQL, journal], stdout=subprocess.PIPE)
        for line in p.stdout:
            told = int(line)
            if told == kill_at:
                p.kill()
        p.wait()
        db = sqlite3.connect("db")
        if db.execute("select count(*) from t").fetchone()[0] < told or db.execute("pragma integrity_check").fetchone()[0] != "ok":
            return "broken after %d" % told
        db.close()
    return [told]


def sqlite_wal():
    return sqlite("wal")


def sqlite_rollback():
    return sqlite("delete")


CASES = [v for k, v in list(globals().items()) if callable(v) and getattr(v, "__code__", None) and v.__code__.co_argcount == 0]

if __name__ == "__main__":
    os.umask(0o022)
    os.chdir(sys.argv[1])
    top = os.getcwd()
    for case in CASES:
        if len(sys.argv) > 2 and case.__name__ != sys.argv[2]:
            continue
        os.chdir(top)
        os.mkdir(case.__name__)
        os.chmod(case.__name__, 0o777)
        os.chdir(case.__name__)
        try:
            print(case.__name__ + ": " + repr(case()), flush=True)
        except Exception as e:
            print(case.__name__ + ": " + repr(e), flush=True)
