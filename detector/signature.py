"""Signatures of model files: `model.onnx.sig` beside `model.onnx`, Ed25519 over all its bytes."""

from dataclasses import dataclass
from pathlib import Path

from detector.errors import ArtifactRejected, SettingsRejected

SUFFIX = ".sig"
LONGEST = 1024  # bytes; a signature has 64


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose models are run.

    Attributes:
        public_key: PEM file of the Ed25519 key that signatures are checked with.
        required: A model without a signature is refused; else only one with a wrong one.
    """

    public_key: Path | None = None
    required: bool = False


def sign(path: Path, key: Path) -> Path:
    """Write the signature of a file beside it.

    Args:
        path: The model.
        key: PEM file of an Ed25519 private key (`openssl genpkey -algorithm ed25519`).

    Returns:
        The signature's file.

    Raises:
        SettingsRejected: If the key cannot be used.
    """
    crypto = _cryptography()
    try:
        private = crypto.serialization.load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        private, saw = None, f": {type(error).__name__}"
    else:
        saw = f" a {type(private).__name__}"
    if not isinstance(private, crypto.ed25519.Ed25519PrivateKey):
        msg = (
            f"{key}: expected an Ed25519 private key in PEM, without a password, saw{saw}; make "
            "one with `openssl genpkey -algorithm ed25519`"
        )
        raise SettingsRejected(msg)
    file = path.with_name(path.name + SUFFIX)
    file.write_bytes(private.sign(path.read_bytes()))
    return file


def check_signature(content: bytes, path: Path, trust: Trust) -> None:
    """Compare a model with the signature beside it.

    Raises:
        ArtifactRejected: If the signature is wrong, or required and missing.
        SettingsRejected: If the public key cannot be used.
    """
    if trust.public_key is None:
        return
    file = path.with_name(path.name + SUFFIX)
    try:
        with file.open("rb") as opened:
            signature = opened.read(LONGEST)
    except OSError as error:
        if not trust.required and isinstance(error, FileNotFoundError):
            return
        msg = (
            f"{path}: expected a signature in {file}, saw: {error.strerror}; sign it with "
            "`training sign`, or set DETECTOR_REQUIRE_SIGNATURE=false"
        )
        raise ArtifactRejected(msg) from error
    crypto = _cryptography()
    try:
        public = crypto.serialization.load_pem_public_key(trust.public_key.read_bytes())
    except (OSError, ValueError) as error:
        public, saw = None, type(error).__name__
    else:
        saw = type(public).__name__
    if not isinstance(public, crypto.ed25519.Ed25519PublicKey):
        msg = f"{trust.public_key}: expected an Ed25519 public key in PEM, saw {saw}"
        raise SettingsRejected(f"{msg}; `openssl pkey -pubout` writes it")  # noqa: EM102, TRY003
    try:
        public.verify(signature, content)
    except crypto.InvalidSignature as error:
        msg = (
            f"{path}: expected the signature in {file} to be of this file by the owner of "
            f"{trust.public_key}, saw another; the model was changed or signed by somebody else: "
            "do not run it before you know which"
        )
        raise ArtifactRejected(msg) from error


class _Crypto:
    """What is used of the package cryptography, which is an extra."""

    def __init__(self) -> None:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

        self.serialization, self.ed25519 = serialization, ed25519
        self.InvalidSignature = InvalidSignature


def _cryptography() -> _Crypto:
    try:
        return _Crypto()
    except ModuleNotFoundError as error:
        msg = f"expected {error.name}, saw none; pip install 'sensor-anomaly-detector[signed]'"
        raise SettingsRejected(msg) from error
