"""Whatever happens while a file is written, its path holds the whole old file or the whole new one."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from forgery import parts

import npae
from npae.storage import atomic_write, files

X = np.random.default_rng(0).random((30, 6))
CHECKOUT = Path(npae.__file__).parent.parent
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


@pytest.fixture
def path(tmp_path):
    """A file of which the content is "old"."""
    (tmp_path / "file").write_bytes(b"old")
    return tmp_path / "file"


def run(program, *arguments):
    """The words that the program prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False,
        cwd=CHECKOUT, env=os.environ | {"NPAE_BACKEND": "numpy", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()


def test_the_new_file_takes_the_place_of_the_old_one(path):
    atomic_write(path, lambda stream: stream.write(b"new"))
    assert path.read_bytes() == b"new"
    atomic_write(str(path).encode(), lambda stream: stream.write(b"newer"))
    assert path.read_bytes() == b"newer"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("when", ["write", "fsync", "replace"])
def test_an_error_midway_leaves_the_old_file_and_no_other(path, monkeypatch, error, when):
    def fail(*_):
        raise error

    def write(stream):
        stream.write(b"half a file")
        if when == "write":
            fail()

    if when != "write":
        monkeypatch.setattr(os, when, fail)
    with pytest.raises(error if isinstance(error, type) else OSError):
        atomic_write(path, write)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupt_at_any_line_leaves_the_old_file_or_the_new_one_and_no_other(path):
    """Ctrl-C comes at the first line of `files.py`, then at the second, and so on, until none is left."""

    def interrupted_at(n):
        def trace(frame, event, _):
            nonlocal n
            if frame.f_code.co_filename != files.__file__:
                return None
            n -= event == "line"
            if n == 0:
                raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            atomic_write(path, lambda stream: stream.write(b"new"))
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    contents, n = [], 1
    while interrupted_at(n):
        assert list(path.parent.iterdir()) == [path], n
        contents.append(path.read_bytes())
        path.write_bytes(b"old")
        n += 1
    assert contents == sorted(contents, reverse=True), "the old file, then the new one"
    assert set(contents) == {b"old", b"new"}
    assert n > 15


KILLS = """
import os, random, signal, sys, time
import numpy as np
import npae

folder = sys.argv[1]
path = os.path.join(folder, "model.npz")
X = np.random.default_rng(0).random((60, 600))
models = [npae.PCA(k).fit(X) for k in (20, 50)]
wholes = []
for model in models:
    npae.save(model, path)
    wholes.append(open(path, "rb").read())
started = time.perf_counter()
for model in models * 2:
    npae.save(model, path)
one = (time.perf_counter() - started) / 4
random.seed(0)
midway, found = set(), [0, 0]
for kill in range(100):
    hears, tells = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            while True:
                for model in models:
                    npae.save(model, path)
                    os.write(tells, b".")
        finally:
            os._exit(1)
    os.close(tells)
    for _ in range(kill % 4):  # none, one and the other, however long a save takes today
        assert os.read(hears, 1) == b"."
    time.sleep(random.uniform(0, one))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(hears)
    midway |= set(os.listdir(folder)) - {"model.npz"}
    found[wholes.index(open(path, "rb").read())] += 1
    assert npae.load(path).n_components in (20, 50)
    if kill % 10 == 9:
        npae.save(models[0], path)
        assert os.listdir(folder) == ["model.npz"], os.listdir(folder)
print(len(midway), *found)
"""


@pytest.mark.once
@posix
def test_a_hundred_kills_leave_a_whole_model_each_and_the_next_save_removes_the_rest(tmp_path):
    midway, one, other = map(int, run(KILLS, tmp_path))
    assert one + other == 100
    assert min(midway, one, other) > 0, "some kills came in the middle of a save, and both models were found"


@posix
def test_a_file_that_another_writer_has_not_finished_is_kept(path):
    writing, done = threading.Event(), threading.Event()

    def slowly(stream):
        stream.write(b"slow")
        writing.set()
        done.wait(60)

    thread = threading.Thread(target=atomic_write, args=(path, slowly))
    thread.start()
    writing.wait(60)
    try:
        atomic_write(path, lambda stream: stream.write(b"quick"))
        assert path.read_bytes() == b"quick"
        assert len(list(path.parent.iterdir())) == 2
    finally:
        done.set()
        thread.join()
    assert path.read_bytes() == b"slow"
    assert list(path.parent.iterdir()) == [path]


def test_only_unfinished_files_of_the_same_name_are_removed(path):
    other = [".file.part", ".file.0123.part", ".file2.0123456789abcdef.part", "file.0123456789abcdef.part"]
    for name in [*other, ".file.0123456789abcdef.part"]:
        path.with_name(name).write_bytes(b"half a file")
    atomic_write(path, lambda stream: stream.write(b"new"))
    assert sorted(p.name for p in path.parent.iterdir()) == sorted(["file", *other])


@posix
def test_a_file_that_was_removed_before_it_was_locked_is_begun_again(path, monkeypatch):
    locks = []

    def late(stream, operation):
        locks.append(stream.name)
        if len(locks) == 1:
            os.unlink(stream.name)

    monkeypatch.setattr(files.fcntl, "flock", late)
    atomic_write(path, lambda stream: stream.write(b"new"))
    assert path.read_bytes() == b"new"
    assert len(locks) == 2


@posix
def test_the_bytes_are_synced_before_the_rename_and_the_folder_after_it(path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def synced(place):
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{place}") else f"{os.fstat(place).st_size} bytes")
        fsync(place)

    def replaced(old, new):
        calls.append("name")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    atomic_write(path, lambda stream: stream.write(b"new"))
    assert calls == ["3 bytes", "name", "folder"]


# --- a full disk ---------------------------------------------------------------------------------------------------

FULL = """
import os, resource, sys
import numpy as np
import npae

path = os.path.join(sys.argv[1], "model.npz")
X = np.random.default_rng(0).random((30, 60))
npae.save(npae.PCA(1).fit(X), path)
before = open(path, "rb").read()
resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5000, resource.RLIM_INFINITY))
try:
    npae.save(npae.PCA(20).fit(X), path)
except OSError as error:
    print(error.errno)
assert open(path, "rb").read() == before
assert os.listdir(sys.argv[1]) == ["model.npz"]
npae.save(npae.PCA(2).fit(X), path)  # what fits is still saved
assert npae.load(path).n_components == 2
"""


@posix
def test_a_disk_without_room_leaves_the_old_model(tmp_path):
    assert run(FULL, tmp_path) == [str(errno.EFBIG)]


@posix
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    read = []
    os.mkfifo(tmp_path / "pipe")
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    model = npae.PCA(1).fit(X)
    npae.save(model, tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
    reader.join(60)
    npae.save(model, tmp_path / "file")
    (header, arrays), (header_again, arrays_again) = (
        parts(whole) for whole in (read[0], (tmp_path / "file").read_bytes())
    )
    assert header == header_again
    assert all(np.array_equal(a, arrays_again[name]) for name, a in arrays.items())


# --- the place -----------------------------------------------------------------------------------------------------


@posix
def test_a_file_has_the_permissions_of_any_new_file_and_keeps_those_it_had(tmp_path):
    path, model = tmp_path / "model.npz", npae.PCA(1).fit(X)
    (tmp_path / "any").touch()
    npae.save(model, path)
    assert path.stat().st_mode == (tmp_path / "any").stat().st_mode
    path.chmod(0o664)
    npae.save(model, path)
    assert path.stat().st_mode & 0o777 == 0o664


@posix
def test_a_link_is_kept_and_its_file_replaced(path):
    link = path.with_name("link")
    link.symlink_to("file")
    atomic_write(link, lambda stream: stream.write(b"new"))
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


def test_a_name_may_be_as_long_as_the_file_system_lets_it(path):
    long = path.with_name("n" * 255)
    atomic_write(long, lambda stream: stream.write(b"new"))
    assert long.read_bytes() == b"new"


def test_a_name_without_a_folder_is_in_the_current_one(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    atomic_write("file", lambda stream: stream.write(b"new"))
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_refused_and_a_missing_one_is_not_made(path):
    for place in (path.parent, path.parent / "nowhere" / "file"):
        with pytest.raises(OSError, match=path.parent.name):
            atomic_write(place, lambda stream: stream.write(b"new"))
    assert list(path.parent.iterdir()) == [path]
