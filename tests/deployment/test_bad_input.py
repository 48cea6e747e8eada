"""What people get wrong when they set a federation up: a sentence each, and nothing half-made."""

from __future__ import annotations

import datetime as dt
import errno
import http.server
import os
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import format_datetime
from pathlib import Path

import pytest

from deployment.federation import free_port
from e2e.consortium import consortium, files, motet, refused, succeeded
from motet.errors import ConnectionFailedError, DeploymentError
from motet.flower.fleet import look
from motet.server.certificates import make_certificates
from motet.server.daemon import check_port
from motet.server.home import ServerHome
from motet.store import write_json
from motet.supervise import started


@pytest.fixture
def coordinator(tmp_path: Path) -> ServerHome:
    succeeded("server", "init", tmp_path / "coordinator", "--port", free_port())
    return ServerHome(tmp_path / "coordinator")


@pytest.fixture
def site(coordinator: ServerHome, tmp_path: Path) -> Path:
    consortium(tmp_path, sites=("ash",), n=6)
    words = ("--name", "ash", "--data", tmp_path / "data/ash")
    welcome = ("--coordinator", coordinator.path / "coordinator.yaml")
    succeeded("site", "init", tmp_path / "site", *words, *welcome)
    return tmp_path / "site"


def running(coordinator: ServerHome) -> None:
    """Make it look as if this process were the coordinator."""
    own = {"pid": os.getpid(), "started": started(os.getpid())}
    write_json(coordinator.status, {"supervisor": own, "processes": {}})


class _Health(http.server.BaseHTTPRequestHandler):
    ahead = 0.0

    def do_GET(self) -> None:
        self.send_response_only(200)
        when = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.ahead)
        self.send_header("Date", format_datetime(when, usegmt=True))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def answering(tls: Path, *, ahead: float = 0.0) -> Iterator[str]:
    """A server that shows the certificate of a folder, with a clock that is off."""
    handler = type("Health", (_Health,), {"ahead": ahead})
    server = http.server.HTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "server.crt", tls / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_port_in_use(coordinator: ServerHome) -> None:
    """Catches a SuperLink that is started again and again on a port that somebody else has."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", coordinator.settings.port))
        taken.listen()
        said = refused(motet("server", "start", coordinator.path), str(coordinator.settings.port))
    assert "is in use" in said
    assert not coordinator.status.exists()


def test_expired_certificate(coordinator: ServerHome) -> None:
    """Catches a certificate that is accepted after its time, or a problem that names no reason."""
    make_certificates(coordinator.tls, ["localhost"], days=-1)
    authority = (coordinator.tls / "ca.crt").read_bytes()
    with (
        answering(coordinator.tls) as address,
        pytest.raises(ConnectionFailedError, match="expired"),
    ):
        look(address, authority)


def test_certificate_of_somebody_else(coordinator: ServerHome, tmp_path: Path) -> None:
    """Catches a site that talks to whoever answers at the address."""
    make_certificates(tmp_path / "other", ["localhost"])
    authority = (coordinator.tls / "ca.crt").read_bytes()
    with (
        answering(tmp_path / "other") as address,
        pytest.raises(ConnectionFailedError, match="certificate that is not accepted"),
    ):
        look(address, authority)


@pytest.mark.parametrize(("ahead", "words"), [(60.0, "behind"), (-60.0, "ahead of")])
def test_clock_is_off(ahead: float, words: str, coordinator: ServerHome) -> None:
    """Catches signatures that are refused with 401 and no word of the clock."""
    authority = (coordinator.tls / "ca.crt").read_bytes()
    with (
        answering(coordinator.tls, ahead=ahead) as address,
        pytest.raises(ConnectionFailedError, match=rf"clock is (59|60|61) s {words}"),
    ):
        look(address, authority)


def test_clock_that_is_a_little_off_is_fine(coordinator: ServerHome) -> None:
    """Catches a limit of less than the five seconds that signatures allow."""
    authority = (coordinator.tls / "ca.crt").read_bytes()
    with answering(coordinator.tls, ahead=-3.0) as address:
        assert 1.0 < look(address, authority) < 5.0


def test_check_says_what_is_well_and_what_is_not(site: Path) -> None:
    """Catches a check that stops before the data, or that does not reach for the coordinator."""
    said = refused(motet("site", "check", site), "cannot be reached", "localhost")
    assert "not be running yet" in said


def test_key_that_must_not_leave(coordinator: ServerHome, site: Path) -> None:
    """Catches a private key that is copied into the coordinator's folder."""
    words = ("server", "provision", coordinator.path, "ash", site / "keys/node.key")
    refused(motet(*words), "private key", "node.pub")
    assert not list((coordinator.path / "sites").glob("ash*"))


def test_one_key_one_site(coordinator: ServerHome, site: Path, tmp_path: Path) -> None:
    """Catches two names for one hospital, and a hospital's key that is replaced unseen."""
    succeeded("server", "provision", coordinator.path, "ash", site / "node.pub")
    words = ("server", "provision", coordinator.path)
    refused(motet(*words, "birch", site / "node.pub"), "enrolled as 'ash'")
    succeeded(*words, "ash", site / "node.pub")
    welcome = ("--coordinator", coordinator.path / "coordinator.yaml")
    names = ("--name", "ash", "--data", tmp_path / "data/ash")
    succeeded("site", "init", tmp_path / "second", *names, *welcome)
    refused(motet(*words, "ash", tmp_path / "second/node.pub"), "ash", "another key")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A coordinator, a site, data and a study, of which nothing changes."""
    folder = tmp_path_factory.mktemp("place")
    consortium(folder, n=6)
    succeeded("server", "init", folder / "coordinator", "--port", free_port())
    words = ("--name", "ash", "--data", folder / "data/ash")
    welcome = ("--coordinator", folder / "coordinator/coordinator.yaml")
    succeeded("site", "init", folder / "site", *words, *welcome)
    return folder


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("server", "start", "nowhere"), ["server.yaml", "motet server init"]),
        (("server", "status", "nowhere"), ["server.yaml"]),
        (("site", "start", "nowhere"), ["site.yaml", "motet site init"]),
        (("site", "status", "nowhere"), ["site.yaml"]),
        (("server", "init", "coordinator"), ["already"]),
        (("server", "init", "data"), ["not empty"]),
        (("server", "init", "new", "--port", "70000"), ["port"]),
        (("server", "init", "new", "--host", "höst"), ["host", "xn--"]),
        (("server", "init", "new", "--host", ""), ["host", "IP address"]),
        (("server", "init", "new", "--host", "my host"), ["host", "my host"]),
        (("server", "init", "new", "--host", "a.example:9443"), ["host"]),
        (("server", "init", "new", "--host", "[::1]"), ["host"]),
        (("server", "init", "new", "--host", "10.0.0.256"), ["host"]),
        (("server", "init", "new", "--bind", "my host"), ["bind"]),
        (("server", "remove", "coordinator", "birch"), ["no site 'birch'"]),
        (("server", "remove", "nowhere", "birch"), ["server.yaml"]),
        (("server", "renew", "nowhere"), ["server.yaml"]),
        (("server", "run", "coordinator", "study.yaml", "--out", "out"), ["not running", "start"]),
        (("server", "check", "coordinator"), ["not running"]),
        (("server", "provision", "coordinator", "a/b", "site/node.pub"), ["a/b"]),
        (("server", "provision", "coordinator", "a", "study.yaml"), ["public key", "study.yaml"]),
        (("server", "provision", "coordinator", "a", "none.pub"), ["none.pub"]),
    ],
)
def test_wrong_words(
    words: tuple[str, ...], named: list[str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a traceback, a sentence that does not name what is wrong, and what is half made."""
    monkeypatch.chdir(place)
    before = files(place)
    refused(motet(*words), *named)
    assert files(place) == before


def test_ipv6_stands_in_brackets(tmp_path: Path) -> None:
    """Catches an address that no site can dial, and a site's folder that refuses a good one."""
    succeeded("server", "init", tmp_path / "six", "--host", "::1")
    home = ServerHome(tmp_path / "six")
    assert (home.address, home.bind) == ("[::1]:9443", "::1")
    (tmp_path / "data").mkdir()
    words = ("--name", "ash", "--data", tmp_path / "data")
    succeeded(
        *("site", "init", tmp_path / "site", *words),
        *("--coordinator", home.path / "coordinator.yaml"),
    )
    with pytest.raises(ConnectionFailedError, match="cannot be reached"):
        look("[::1]:1", (home.tls / "ca.crt").read_bytes())


@pytest.mark.parametrize("address", ["::1:9443", "höst\ud800:1", "my host:9443", "a:b"])
def test_what_is_no_address_is_a_sentence(address: str, coordinator: ServerHome) -> None:
    """Catches the traceback of an address that an earlier version let into a site's folder."""
    with pytest.raises(ConnectionFailedError):
        look(address, (coordinator.tls / "ca.crt").read_bytes())


def test_a_coordinator_behind_a_proxy(tmp_path: Path) -> None:
    """Catches a coordinator that listens on its public name only, or that cannot reach itself."""
    words = ("--host", "motet.example.org", "--bind", "0.0.0.0", "--port", free_port())
    succeeded("server", "init", tmp_path / "inside", *words)
    home = ServerHome(tmp_path / "inside")
    assert home.address == f"motet.example.org:{home.settings.port}"
    assert home.own_address == f"127.0.0.1:{home.settings.port}"
    check_port(home.bind, home.settings.port)
    with answering(home.tls) as address:
        look(address.replace("localhost", "127.0.0.1"), (home.tls / "ca.crt").read_bytes())


@pytest.mark.parametrize(
    ("bind", "named"),
    [("192.0.2.1", "none of this machine's"), ("nowhere.invalid", "is not known")],
)
def test_an_address_of_another_machine(bind: str, named: str) -> None:
    """Catches 'port in use' where the public address is a proxy's."""
    with pytest.raises(DeploymentError, match=named) as caught:
        check_port(bind, 9443)
    assert "'bind' in server.yaml" in caught.value.do


def test_a_port_that_needs_privileges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches 'port in use' where it is not."""
    monkeypatch.setattr(socket.socket, "bind", _denied)
    with pytest.raises(DeploymentError, match=r"Port 443 on 127\.0\.0\.1 .* need privileges"):
        check_port("127.0.0.1", 443)


def _denied(self: socket.socket, address: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


def test_a_renewed_certificate_is_of_the_same_authority(coordinator: ServerHome) -> None:
    """Catches a renewal after which every hospital needs a new coordinator.yaml."""
    authority = (coordinator.tls / "ca.crt").read_bytes()
    make_certificates(coordinator.tls, ["localhost"], days=-1)
    assert "started again" in succeeded("server", "renew", coordinator.path)
    with answering(coordinator.tls) as address:
        look(address, authority)
    (coordinator.tls / "ca.key").unlink()
    refused(motet("server", "renew", coordinator.path), "ca.key", "backup")
    assert (coordinator.tls / "ca.crt").read_bytes() == authority


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("name: [a]", ["name"]),
        ("coordinator: somewhere", ["coordinator"]),
        ("coordinator: ::1:9443", ["coordinator", "brackets"]),
        ("coordinator: höst:9443", ["coordinator", "xn--"]),
        ("colour: red", ["colour"]),
        ("data: 3", ["data"]),
        (": :", ["site.yaml"]),
    ],
)
def test_wrong_site_yaml(change: str, named: list[str], site: Path) -> None:
    """Catches a setting that is silently ignored."""
    file = site / "site.yaml"
    key = change.split(":")[0]
    kept = [line for line in file.read_text().splitlines() if not line.startswith(f"{key}:")]
    file.write_text("\n".join([*kept, change]))
    refused(motet("site", "status", site), "site.yaml", *named)


def test_site_init_wants_the_coordinators_file(coordinator: ServerHome, tmp_path: Path) -> None:
    """Catches a site made from something else, of which the mistake shows days later."""
    (tmp_path / "data").mkdir()
    words = ("site", "init", tmp_path / "site", "--name", "ash", "--data", tmp_path / "data")
    refused(motet(*words, "--coordinator", tmp_path / "none.yaml"), "none.yaml")
    refused(motet(*words, "--coordinator", coordinator.tls / "ca.crt"), "coordinator.yaml")
    assert not (tmp_path / "site").exists()


def test_study_names_a_site_that_is_not_enrolled(
    coordinator: ServerHome, site: Path, tmp_path: Path
) -> None:
    """Catches a run that starts with fewer hospitals than the study file says."""
    study = consortium(tmp_path, n=6)
    running(coordinator)
    write_json(coordinator.path / "sites/enrolled.json", {"ash": 1, "birch": 2})
    words = ("server", "run", coordinator.path, study, "--out", tmp_path / "out")
    refused(motet(*words), "cedar", "not enrolled", "provision")
    assert not (coordinator.path / "orders").exists()


def test_coordinator_that_was_killed_is_not_running(coordinator: ServerHome) -> None:
    """Catches a status file that outlives its coordinator, and a process of the same number."""
    for own in ({"pid": os.getpid(), "started": "1"}, {"pid": 2**22 + 1, "started": ""}):
        write_json(coordinator.status, {"supervisor": own, "processes": {"superlink": {}}})
        assert "is not running" in succeeded("server", "status", coordinator.path)
        refused(motet("server", "check", coordinator.path), "not running")


def test_output_folder_of_something_else(coordinator: ServerHome, tmp_path: Path) -> None:
    """Catches a deployed study that writes into a folder of other files."""
    study = consortium(tmp_path, n=6)
    running(coordinator)
    write_json(coordinator.path / "sites/enrolled.json", {"ash": 1, "birch": 2, "cedar": 3})
    shutil.copytree(tmp_path / "data", tmp_path / "out")
    words = ("server", "run", coordinator.path, study, "--out", tmp_path / "out")
    refused(motet(*words), "not empty", "out")


def test_folders_of_secrets_are_the_owners(coordinator: ServerHome, site: Path) -> None:
    """Catches a key that everybody on the machine can read."""
    for folder in (coordinator.path, site):
        assert folder.stat().st_mode & 0o077 == 0
    for file in (coordinator.secret, coordinator.tls / "ca.key", site / "keys/node.key"):
        assert file.stat().st_mode & 0o077 == 0
    text = (coordinator.path / "coordinator.yaml").read_text()
    assert "PRIVATE" not in text
