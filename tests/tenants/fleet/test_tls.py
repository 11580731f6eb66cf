"""TLS and authentication methods, on Debian's PostgreSQL (the embedded one has no TLS)."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import certifi
import pytest

from common import libpq
from localfleet.servers.server import Server
from syncs.errors import LoginRejected, SourceError, TlsFailed
from tenants.fleet import connections, scram_store, sign_in
from tenants.health import checks
from tenants.models import RdsInstance
from tests.caches import register
from tests.certificates import Authority
from tests.instances import Instance, InstanceFleet

OURS, OTHER, OF_THE_SAME_NAME = Authority.make(), Authority.make("Other CA"), Authority.make()


@pytest.fixture
def secure(older: Instance, transactional_db: None) -> Callable[[str], Instance]:
    """Makes an instance whose certificate, signed by our CA, is for the given host."""

    def make(host: str) -> Instance:
        older.offer_tls(*OURS.server(host))
        return older

    return make


def enter(instance: Instance, **fields: str) -> bool:
    """Whether the connection is encrypted; raises what RAINBO says when it is refused."""
    row = register(instance, **({"ssl_mode": "verify-full", "ssl_ca": OURS.pem} | fields))
    with connections.connect(row, "test") as source:
        return bool(source.pgconn.ssl_in_use)


def refusal(instance: Instance, **fields: str) -> str:
    with pytest.raises(SourceError) as raised:
        enter(instance, **fields)
    assert isinstance(raised.value, TlsFailed | LoginRejected)
    assert instance.rainbo_password not in str(raised.value)
    return str(raised.value)


def test_verify_full_with_the_right_ca(secure: Callable[[str], Instance]) -> None:
    assert enter(secure("localhost"), host="localhost")


def test_scram_keys_sign_in_with_channel_binding(secure: Callable[[str], Instance]) -> None:
    row = register(secure("127.0.0.1"), ssl_mode="verify-full", ssl_ca=OURS.pem)
    for why in (scram_store.NONE_STORED, ""):
        sign_in._found.clear()  # as in a new process
        with connections.connect(row, "test") as source:
            assert (source.why_password, source.pgconn.ssl_in_use) == (why, True)


def test_verify_full_of_an_address(secure: Callable[[str], Instance]) -> None:
    assert enter(secure("127.0.0.1"))


@pytest.mark.parametrize("authority", [OTHER, OF_THE_SAME_NAME], ids=["other", "same name"])
def test_verify_full_with_a_wrong_ca(
    secure: Callable[[str], Instance], authority: Authority
) -> None:
    said = refusal(secure("localhost"), host="localhost", ssl_ca=authority.pem)
    assert "has a certificate that its CA did not sign" in said


def test_verify_full_with_the_systems_cas(secure: Callable[[str], Instance]) -> None:
    said = refusal(secure("localhost"), host="localhost", ssl_ca="")
    assert "has a certificate that the system's list of CAs did not sign" in said


def test_verify_full_with_a_ca_of_the_systems_list(
    secure: Callable[[str], Instance], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca-certificates.crt"
    bundle.write_text(Path(libpq.system_cas()).read_text() + OURS.pem)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    nothing = ssl.get_default_verify_paths()._replace(cafile="")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nothing)
    monkeypatch.setattr(libpq, "_BUNDLES", ("/nowhere/certs.pem", str(bundle)))
    assert enter(secure("localhost"), host="localhost", ssl_ca="")


def test_the_systems_list_of_cas_is_a_file_that_exists() -> None:
    assert "BEGIN CERTIFICATE" in Path(libpq.system_cas()).read_text()


def test_without_any_list_that_of_certifi_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = ssl.get_default_verify_paths()._replace(cafile="")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nothing)
    monkeypatch.setattr(libpq, "_BUNDLES", ())
    assert libpq.system_cas() == certifi.where()


def test_verify_full_with_a_wrong_host(secure: Callable[[str], Instance]) -> None:
    said = refusal(secure("db.example.com"), host="localhost")
    assert "a certificate for another host name than localhost" in said


def test_verify_ca_takes_another_host(secure: Callable[[str], Instance]) -> None:
    assert enter(secure("db.example.com"), host="localhost", ssl_mode="verify-ca")


def test_verify_ca_with_a_wrong_ca(secure: Callable[[str], Instance]) -> None:
    said = refusal(secure("localhost"), ssl_mode="verify-ca", ssl_ca=OTHER.pem)
    assert "did not sign" in said


def test_verify_ca_without_a_ca(secure: Callable[[str], Instance]) -> None:
    assert "no CA" in refusal(secure("localhost"), ssl_mode="verify-ca", ssl_ca="")


def test_require_encrypts_and_asks_for_no_proof(secure: Callable[[str], Instance]) -> None:
    assert enter(secure("db.example.com"), ssl_mode="require", ssl_ca="")


@pytest.mark.parametrize("ssl_mode", ["verify-full", "verify-ca", "require"])
def test_a_plaintext_server_is_refused(
    fleet: InstanceFleet, transactional_db: None, ssl_mode: str
) -> None:
    said = refusal(fleet[2], ssl_mode=ssl_mode)
    assert f"does not support TLS, and ssl mode {ssl_mode} requires it" in said


def test_the_file_of_the_ca_is_private_and_goes(
    secure: Callable[[str], Instance], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    row = register(secure("127.0.0.1"), ssl_mode="verify-full", ssl_ca=OURS.pem)
    with connections.connect(row, "test"):
        (file,) = tmp_path.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == []


def test_check_fleet_has_nothing_to_warn_of(secure: Callable[[str], Instance]) -> None:
    row = register(secure("127.0.0.1"), ssl_mode="verify-full", ssl_ca=OURS.pem)
    (checked,) = checks.check_fleet([row])
    assert {finding.level for finding in checked.findings} == {"ok"}
    assert checked.findings[0].text == "reached, encrypted (ssl mode verify-full)"


@pytest.mark.parametrize("method", ["md5", "password", "trust"])
def test_a_weaker_way_to_log_in_is_refused(
    extra_instance: Callable[..., Instance], transactional_db: None, method: str
) -> None:
    instance = _asking_for(method, extra_instance(6))
    said = refusal(instance, ssl_mode="disable")
    assert "requires another authentication method than scram-sha-256" in said


def test_a_weaker_way_to_log_in_may_be_chosen(
    extra_instance: Callable[..., Instance], transactional_db: None
) -> None:
    instance = _asking_for("md5", extra_instance(6))
    assert enter(instance, ssl_mode="disable", require_auth="md5") is False
    assert RdsInstance.objects.get(pk=6).require_auth == "md5"


def test_a_password_in_clear_may_be_chosen_inside_tls(
    extra_server: Callable[..., Server],
    extra_instance: Callable[..., Instance],
    debian_bin: Path,
    transactional_db: None,
) -> None:
    instance = extra_instance(6, server=extra_server("clear", bin_folder=debian_bin))
    instance.offer_tls(*OURS.server("localhost"))
    assert enter(
        _asking_for("password", instance),
        ssl_mode="require",
        ssl_ca="",
        require_auth="password",
    )


@pytest.mark.parametrize("ssl_mode", ["disable", "allow", "prefer"])
def test_a_password_in_clear_never_leaves_outside_of_tls(
    extra_instance: Callable[..., Instance], transactional_db: None, ssl_mode: str
) -> None:
    instance = _asking_for("password", extra_instance(6))
    said = refusal(instance, ssl_mode=ssl_mode, ssl_ca="", require_auth="password")
    assert (
        "instance 6 (rds6) was not contacted: password authentication in clear text needs" in said
    )


def _asking_for(method: str, instance: Instance) -> Instance:
    """The same instance, whose server asks RAINBO's role for its password in that way."""
    with instance.server.connect() as connection:
        if method == "md5":
            connection.execute("SET password_encryption = 'md5'")
            connection.execute(f"ALTER ROLE rainbo PASSWORD '{instance.rainbo_password}'".encode())
        rules = instance.server.data / "pg_hba.conf"
        rules.write_text(f"host all rainbo all {method}\n{rules.read_text()}")
        connection.execute("SELECT pg_reload_conf()")
    return instance
