from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from common.redaction import redact, redact_value

SECRET = "hunter2-Zz"


@pytest.mark.parametrize(
    "text",
    [
        f"host=db1 password={SECRET} dbname=x",
        f"host=db1 password='{SECRET} it\\'s' dbname=x",
        f'{{"password": "{SECRET}", "host": "db1"}}',
        f"connect(host='db1', password='{SECRET}')",
        f"PGPASSWORD={SECRET} psql",
        f"RAINBO_DB_PASSWORD: {SECRET}",
        f"RAINBO_SECRET_KEY={SECRET}",
        f"RAINBO_CREDENTIAL_KEYS={SECRET},{SECRET}",
        f"postgres://rainbo:{SECRET}@db1:5432/x",
        f"postgresql+psycopg://rainbo:a@b/{SECRET}@db1/x",
        f"Authorization: Bearer {SECRET}",
    ],
)
def test_secrets_are_masked(text: str) -> None:
    clean = redact(text)
    assert SECRET not in clean
    assert "***" in clean


@pytest.mark.parametrize(
    "text",
    [
        'password authentication failed for user "rainbo"',
        "run 7 took the lease with token 12 (token=12)",
        "connection to server at 10.0.0.1, port 5432 failed",
        "instance rds2: column users.last_login_at is missing",
        "https://rainbo.example/admin/",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text


def test_what_surrounds_a_secret_stays() -> None:
    assert redact(f"host=db1 password={SECRET} dbname=x") == "host=db1 password=*** dbname=x"
    assert redact(f"postgres://me:{SECRET}@db1/x") == "postgres://me:***@db1/x"


def test_ciphertexts_are_masked() -> None:
    sealed = Fernet(Fernet.generate_key()).encrypt(b"x").decode()
    assert redact(f"stored {sealed} for rds1") == "stored *** for rds1"


def test_fields_are_masked_by_name_and_inside() -> None:
    assert redact_value("password", SECRET) == "***"
    assert redact_value("source", {"db_password": SECRET, "port": 1}) == {
        "db_password": "***",
        "port": 1,
    }
    assert redact_value("tried", [f"password={SECRET}"]) == ["password=***"]
    assert redact_value("run", 7) == 7
