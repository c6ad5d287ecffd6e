"""-v, --mount and --tmpfs against Docker's grammars."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.cli.mount_options import parse_mount, parse_tmpfs, parse_volume
from rootless.errors import UsageError
from rootless.model.spec import Mount

CWD = "/home/me"


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/a:/b", Mount(kind="bind", source="/a", target="/b", create_source=True)),
        ("/a:/b:ro", Mount(kind="bind", source="/a", target="/b", read_only=True, create_source=True)),
        ("/a/:/b//c/../d", Mount(kind="bind", source="/a", target="/b/d", create_source=True)),
        (".:/b", Mount(kind="bind", source="/home/me", target="/b", create_source=True)),
        ("../x:/b", Mount(kind="bind", source="/home/x", target="/b", create_source=True)),
        (
            "/a:/b:rw,rslave,z",
            Mount(kind="bind", source="/a", target="/b", propagation="rslave", create_source=True),
        ),
        (r"/a\:1:/b", Mount(kind="bind", source="/a:1", target="/b", create_source=True)),
        ("data:/b", Mount(kind="volume", source="data", target="/b")),
        (
            "data:/b:nocopy,ro",
            Mount(kind="volume", source="data", target="/b", read_only=True, options=("nocopy",)),
        ),
    ],
)
def test_volume(text, mount):
    assert parse_volume(text, cwd=CWD) == mount


def test_volume_with_a_target_alone_is_anonymous():
    mount = parse_volume("/data/", cwd=CWD)
    assert (mount.kind, mount.target, mount.options, len(mount.source)) == (
        "volume",
        "/data",
        ("anonymous",),
        64,
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a:b:c:d", "not a volume"),
        ("", "not a volume"),
        (":/b", "not a volume"),
        ("/a:", "not a volume"),
        ("/a::ro", "not a volume"),
        ("/a:b", "the target `b` is not an absolute path"),
        ("data", "the target `data` is not an absolute path"),
        ("/a:/", "the target cannot be `/`"),
        ("/a:/..", "the target cannot be `/`"),
        ("/a:/b:wo", "`wo` is not possible for a bind"),
        ("/a:/b:ro,rw", "`ro,rw` is not possible"),
        ("/a:/b:nocopy", "`nocopy` is not possible for a bind"),
        ("/a:/b:U", "`U` is not possible for a bind"),
        ("data:/b:rshared", "`rshared` is not possible for a volume"),
        ("a/b:/c", "`a/b` is neither a path nor a volume name"),
        ("..data:/c:xx", "`xx`"),
    ],
)
def test_bad_volume_is_told_why(text, why):
    with pytest.raises(UsageError) as caught:
        parse_volume(text, cwd=CWD)
    assert why in caught.value.message
    assert caught.value.hint or "target" in why


def test_hostile_volume_name_cannot_leave_the_store():
    for name in ("x/../../etc", "~/x", "a\nb", "-x", "x" * 300):
        with pytest.raises(UsageError):
            parse_volume(f"{name}:/c", cwd=CWD)


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("type=bind,src=/a,dst=/b", Mount(kind="bind", source="/a", target="/b")),
        (
            "type=bind,source=./a,target=/b,ro",
            Mount(kind="bind", source="/home/me/a", target="/b", read_only=True),
        ),
        (
            "type=bind,source=/a,destination=/b,readonly=false,bind-propagation=shared",
            Mount(kind="bind", source="/a", target="/b", propagation="shared"),
        ),
        ("src=data,dst=/b", Mount(kind="volume", source="data", target="/b")),
        (
            "type=volume,src=data,dst=/b,volume-nocopy",
            Mount(kind="volume", source="data", target="/b", options=("nocopy",)),
        ),
        (
            "type=tmpfs,dst=/t,tmpfs-size=64m,tmpfs-mode=1770",
            Mount(kind="tmpfs", target="/t", options=("size=67108864", "mode=1770")),
        ),
        ('type=bind,"src=/a,b",dst=/c', Mount(kind="bind", source="/a,b", target="/c")),
    ],
)
def test_mount(text, mount):
    assert parse_mount(text, cwd=CWD) == mount


def test_mount_without_a_source_is_anonymous():
    mount = parse_mount("target=/data", cwd=CWD)
    assert (mount.kind, mount.options, len(mount.source)) == ("volume", ("anonymous",), 64)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("type=bind", "target is required"),
        ("type=bind,dst=/b", "a bind needs source"),
        ("type=bind,src=a,dst=/b", "a bind needs source"),
        ("type=nfs,dst=/b", "unknown type `nfs`"),
        ("type=tmpfs,src=/a,dst=/b", "a tmpfs has no source"),
        ("type=tmpfs,dst=/b,tmpfs-mode=9", "tmpfs-mode `9`"),
        ("type=tmpfs,dst=/b,tmpfs-size=x", "not a size"),
        ("type=tmpfs,dst=/b,bind-propagation=shared", "unexpected key `bind-propagation` for type=tmpfs"),
        ("type=bind,src=/a,dst=/b,ro=maybe", "`maybe` is not a boolean"),
        ("type=bind,src=/a,dst=/b,bind-propagation=x", "no such propagation: x"),
        ("src=/a,dst=/b", "`/a` is not a volume name"),
        ("dst=/b,color=red", "unexpected key `color`"),
        ("dst", "`dst` must be a key=value pair"),
        ('"dst=/b', "the quotes do not match"),
        ("", "must be a key=value pair"),
    ],
)
def test_bad_mount_is_told_why(text, why):
    with pytest.raises(UsageError) as caught:
        parse_mount(text, cwd=CWD)
    assert why in caught.value.message


def test_tmpfs():
    assert parse_tmpfs("/run") == Mount(kind="tmpfs", target="/run")
    assert parse_tmpfs("/run:rw,size=64m,mode=1777,noexec") == Mount(
        kind="tmpfs", target="/run", options=("size=64m", "mode=1777", "noexec")
    )
    assert parse_tmpfs("/run:ro").read_only


@pytest.mark.parametrize("text", ["run", "/", "/run:lowerdir=/etc", "/run:bind", "/run:size"])
def test_bad_tmpfs_is_refused(text):
    with pytest.raises(UsageError):
        parse_tmpfs(text)


@given(st.text(alphabet='ab/.:,="\\=\n\0', max_size=30))
def test_any_text_is_a_mount_with_a_clean_target_or_a_usage_error(text):
    for parse in (
        lambda t: parse_volume(t, cwd=CWD),
        lambda t: parse_mount(t, cwd=CWD),
        lambda t: parse_mount("type=bind,src=/a,dst=" + t, cwd=CWD),
        parse_tmpfs,
    ):
        try:
            mount = parse(text)
        except UsageError:
            continue
        parts = mount.target.split("/")
        assert mount.target != "/"
        assert parts[0] == ""
        assert not {"", ".", ".."} & set(parts[1:])
        assert "\0" not in mount.target + mount.source
