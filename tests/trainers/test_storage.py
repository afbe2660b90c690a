import io
import sys
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from framehook import SourceError, SourceNotFoundError, UsageError
from framehook_trainers.datasets.detection import examine, unpack
from framehook_trainers.datasets.formats import read_samples
from framehook_trainers.datasets.storage import find_pictures, join, list_files, read_bytes


@pytest.fixture
def bucket(monkeypatch):
    """An object store on this machine, and how to put files into it: `s3://faces`."""
    boto3 = pytest.importorskip("boto3")
    server_module = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    client.create_bucket(Bucket="faces")
    yield lambda name, data: client.put_object(Bucket="faces", Key=name, Body=data)
    client.close()
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def test_sets_in_an_object_store_are_those_on_the_disk(bucket, tiny_data):
    for path in tiny_data.iterdir():
        bucket(f"sets/{path.name}", path.read_bytes())

    for data_format in ("utkface", "fairface"):
        here, there = (read_samples(data_format, place).samples for place in (str(tiny_data), "s3://faces/sets"))
        assert [(s.name, s.label, s.published_split) for s in there] == [(s.name, s.label, s.published_split) for s in here]
        assert [s.read() for s in there[::20]] == [s.read() for s in here[::20]]


def test_loose_files_tables_and_metadata_are_read_from_an_object_store(bucket, tmp_path, write_mat):
    bucket("loose/", b"")  # as a console marks a folder
    bucket("loose/sub/", b"")
    bucket("loose/sub/20_1_0_2017.jpg", b"a")
    bucket("people.csv", b"path,age\nloose/sub/20_1_0_2017.jpg,20\n")
    columns = {"dob": [720_000], "photo_taken": [2010], "full_path": ["loose/sub/20_1_0_2017.jpg"], "gender": [1]}
    write_mat(tmp_path / "wiki.mat", "wiki", **columns, face_score=[2], second_face_score=[float("nan")])
    bucket("wiki.mat", (tmp_path / "wiki.mat").read_bytes())

    places = {"utkface": "s3://faces/loose", "table": "s3://faces/people.csv", "imdb-wiki": "s3://faces/wiki.mat"}
    for data_format, place in places.items():
        reading = read_samples(data_format, place)
        (sample,) = reading.samples
        assert sample.read() == b"a"
        assert not reading.counts


@pytest.mark.parametrize("place", ["s3://faces/nothing", "s3://no-such-bucket/sets"], ids=["no file", "no bucket"])
def test_what_an_object_store_has_not_is_told(bucket, place):
    with pytest.raises(SourceNotFoundError, match=f"'{place}'"):
        list_files(place)
    with pytest.raises(SourceNotFoundError, match=f"'{place}.csv' is not there"):
        read_bytes(f"{place}.csv")


def test_a_missing_package_is_told_with_what_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)

    with pytest.raises(UsageError, match=r"reading 's3://faces/sets' needs fsspec: pip install 'framehook\[train\]'"):
        read_samples("utkface", "s3://faces/sets")


def test_a_store_of_an_unknown_kind_is_told():
    pytest.importorskip("fsspec")

    with pytest.raises(UsageError, match=r"'nowhere://faces' cannot be reached: .*nowhere"):
        read_samples("utkface", "nowhere://faces")


def test_files_on_the_disk_do_without_fsspec(chips, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)

    assert len(read_samples("utkface", str(chips)).samples) == 48


def test_a_damaged_archive_is_named(tmp_path):
    (tmp_path / "utkface-00.tar").write_bytes(b"no archive" * 200)

    with pytest.raises(SourceError, match=r"utkface-00\.tar' cannot be read as an uncompressed tar archive"):
        find_pictures(str(tmp_path), of="utkface")


def archive(path, members):
    """A tar of files by name; of None, a hard link to the file before it."""
    with tarfile.open(path, "w") as tar:
        before = ""
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            if content is None:
                entry.type, entry.linkname = tarfile.LNKTYPE, before
                tar.addfile(entry)
            else:
                entry.size, before = len(content), name
                tar.addfile(entry, io.BytesIO(content))
    return path


def test_names_in_an_archive_are_those_in_a_folder_and_links_are_files(tmp_path):
    path = archive(tmp_path / "a.tar", {"./train/1.jpg": b"one", "train/../train/2.jpg": b"two", "./3.jpg": None})

    pictures = find_pictures(str(path), of="set")

    assert [(picture.name, picture.read()) for picture in pictures] == [
        ("train/1.jpg", b"one"),
        ("train/2.jpg", b"two"),
        ("3.jpg", b"two"),
    ]


@pytest.mark.parametrize("left", [1024, 1024 + 100], ids=["at a member's end", "in a header"])
def test_an_archive_that_was_cut_is_told_wherever_it_was(tmp_path, left):
    path = archive(tmp_path / "a.tar", {f"{number}.jpg": b"x" * 10 for number in range(3)})
    path.write_bytes(path.read_bytes()[:left])

    with pytest.raises(SourceError, match=r"a\.tar' is cut short after 1 files: it has no end; copy it again"):
        find_pictures(str(path), of="set")


def test_a_file_for_a_folder_is_said_to_be_one(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"a\.tar\.gz' is a file; name a folder, an uncompressed tar archive \(\.tar\)"):
        find_pictures(str(tmp_path / "a.tar.gz"), of="set")


def test_a_folder_for_a_file_is_an_error_with_its_name(tmp_path):
    with pytest.raises(SourceError, match=f"'{tmp_path}' is a folder; name the file in it"):
        read_bytes(str(tmp_path))


@pytest.mark.parametrize(
    ("folder", "path", "whole"),
    [
        ("/data", "a/b.jpg", "/data/a/b.jpg"),
        ("/data", "/other/b.jpg", "/other/b.jpg"),
        ("s3://faces/sets/", "a/b.jpg", "s3://faces/sets/a/b.jpg"),
        ("s3://faces/sets", "../b.jpg", "s3://faces/b.jpg"),
        ("s3://faces/sets", "./a/b.jpg", "s3://faces/sets/a/b.jpg"),
        ("s3://faces/sets", "a//b.jpg?c=d//e", "s3://faces/sets/a//b.jpg?c=d//e"),
        ("s3://faces", "../others/b.jpg", "s3://faces/../others/b.jpg"),
        ("/data", "s3://faces/b.jpg", "s3://faces/b.jpg"),
        ("https://host/a%20b", "c d/#1?.jpg", "https://host/a%20b/c%20d/%231%3F.jpg"),
        ("http://host/a", "100%.jpg", "http://host/a/100%25.jpg"),
        ("https://host/a", "https://other/b.jpg?c#d", "https://other/b.jpg?c#d"),
    ],
    ids=[
        "below a folder",
        "absolute",
        "below a URL",
        "above a URL",
        "roundabout",
        "odd",
        "beyond the bucket",
        "a URL",
        "web",
        "per cent",
        "web URL",
    ],
)
def test_a_path_is_below_its_folder_unless_it_stands_for_itself(folder, path, whole):
    assert join(folder, path) == whole


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_folders_behind_links_are_read_and_circles_are_not(tmp_path):
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "far" / "deep" / "a.jpg").write_bytes(b"a")
    top = tmp_path / "top"
    top.mkdir()
    (top / "b.jpg").write_bytes(b"b")
    (top / "more").symlink_to(tmp_path / "far")
    (top / "again").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(top)

    assert list_files(str(top)) == ["again/deep/a.jpg", "b.jpg"]


@pytest.fixture
def scheme():
    """Register a file system for `odd://`."""
    fsspec = pytest.importorskip("fsspec")
    return partial(fsspec.register_implementation, "odd", clobber=True)


def test_a_folder_that_cannot_be_listed_is_told(scheme):
    spec = pytest.importorskip("fsspec.spec")

    class Folders(spec.AbstractFileSystem):
        protocol = "odd"
        cachable = False
        entries: ClassVar = {"top": ["top/a/", "top/b/", "top/0.jpg"], "top/a": ["top/a/1.jpg"]}

        def ls(self, path, detail=True, **more):
            if path not in self.entries:
                raise PermissionError(f"no permission for {path}")
            return [{"name": name, "type": "directory" if name.endswith("/") else "file"} for name in self.entries[path]]

    scheme(Folders)
    with pytest.raises(SourceError, match="'odd://top' cannot be read: no permission for top/b"):
        list_files("odd://top")

    Folders.entries["top/b"] = ["top/b/2.jpg", "top/b/c/"]
    Folders.entries["top/b/c"] = []
    assert list_files("odd://top") == ["0.jpg", "a/1.jpg", "b/2.jpg"]


def test_a_server_without_ranges_is_told(scheme, tmp_path):
    memory = pytest.importorskip("fsspec.implementations.memory")

    class Whole(memory.MemoryFileSystem):
        store: ClassVar = {}
        pseudo_dirs: ClassVar = [""]

        @classmethod
        def _strip_protocol(cls, path):
            return super()._strip_protocol(path.removeprefix("odd://"))

        def cat_file(self, path, start=None, end=None, **more):
            return super().cat_file(path)

    scheme(Whole)
    path = archive(tmp_path / "a.tar", {"1.jpg": b"one", "2.jpg": b"two"})
    Whole().pipe_file("/a.tar", path.read_bytes())

    pictures = find_pictures("odd://a.tar", of="set")

    with pytest.raises(
        SourceError, match=r"'odd://a.tar' gave 10240 bytes, want 3 from byte 512 on: .* its server knows no ranges"
    ):
        pictures[0].read()


def test_names_on_the_web_are_those_of_the_files(tmp_path):
    pytest.importorskip("aiohttp")
    (tmp_path / "s p").mkdir()
    names = ["100%.jpg", "a#b.jpg", "s p/what?.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "people.csv").write_text("path,age\n" + "".join(f"{name},20\n" for name in names))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *parts):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            place = f"http://127.0.0.1:{server.server_port}"
            assert list_files(f"{place}/") == [*names[:2], "people.csv", names[2]]
            assert [p.read() for p in find_pictures(place, of="set") if p.name != "people.csv"] == [n.encode() for n in names]
            samples = read_samples("table", f"{place}/people.csv").samples
            assert [sample.read() for sample in samples] == [name.encode() for name in names]
        finally:
            server.shutdown()
            thread.join()


IMPOSSIBLE = {"long": "a" * 300 + ".jpg", "NUL": "a\0.jpg", "a folder": "sub", "below a file": "1.jpg/2.jpg"}


@pytest.mark.parametrize("path", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_path_that_no_picture_can_have_is_that_of_a_missing_one(tmp_path, path, picture):
    (tmp_path / "sub").mkdir()
    (tmp_path / "1.jpg").write_bytes(picture(0, 64, ".jpg"))
    (tmp_path / "people.csv").write_text(f"path,age\n1.jpg,20\n{path},30\n")

    samples = read_samples("table", str(tmp_path / "people.csv")).samples
    examined = unpack(examine([sample.read for sample in samples]))

    assert [one.problem for one in examined] == ["", "missing picture"]
