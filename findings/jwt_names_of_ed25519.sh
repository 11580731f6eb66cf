#!/bin/bash
# JSON Web Tokens signed with Ed25519 have two names for their algorithm, and two libraries agree on
# neither by default. joserfc 1.8.0 warns that "EdDSA" is deprecated (RFC 9864) and signs as
# "Ed25519", which PyJWT 2.15.1 does not know, neither to sign nor to read. A token of PyJWT,
# "EdDSA", is read by joserfc only if that name is listed, with a warning each time. RFC 8725's "one
# algorithm for each key" therefore means the older name where both are used.
#
# Guess before: either library reads what the other signs under the registered name.
# Seen: as printed below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    PyJWT==2.15.1 joserfc==1.8.0 cryptography==50.0.2
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import warnings
from collections.abc import Callable
from importlib.metadata import version

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwk
from joserfc import jwt as joserfc_jwt

private = Ed25519PrivateKey.generate()
key = jwk.OKPKey.import_key(
    private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
)
public = private.public_key()
CLAIMS = {"sub": "ann"}


def outcome(work: Callable[[], object]) -> str:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            work()
        except Exception as error:
            return type(error).__name__
        return "works, with a warning" if seen else "works"


def of_joserfc(name: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return joserfc_jwt.encode({"alg": name}, CLAIMS, key, algorithms=[name])


of_pyjwt = jwt.encode(CLAIMS, private, algorithm="EdDSA")
seen = {
    "PyJWT reads EdDSA of joserfc": outcome(
        lambda: jwt.decode(of_joserfc("EdDSA"), public, algorithms=["EdDSA"])
    ),
    "PyJWT reads Ed25519 of joserfc": outcome(
        lambda: jwt.decode(of_joserfc("Ed25519"), public, algorithms=["Ed25519"])
    ),
    "PyJWT signs Ed25519": outcome(lambda: jwt.encode(CLAIMS, private, algorithm="Ed25519")),
    "joserfc reads EdDSA of PyJWT": outcome(lambda: joserfc_jwt.decode(of_pyjwt, key)),
    "joserfc reads it, named": outcome(
        lambda: joserfc_jwt.decode(of_pyjwt, key, algorithms=["EdDSA"])
    ),
    "joserfc signs Ed25519, named": outcome(
        lambda: joserfc_jwt.encode({"alg": "Ed25519"}, CLAIMS, key, algorithms=["Ed25519"])
    ),
}
print("PyJWT", version("PyJWT"), "joserfc", version("joserfc"))
for what, result in seen.items():
    print(f"{what}: {result}")
assert list(seen.values()) == [
    "works", "InvalidAlgorithmError", "NotImplementedError", "UnsupportedAlgorithmError",
    "works, with a warning", "works",
], seen
PYTHON
