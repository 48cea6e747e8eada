"""Reading the public keys that hospitals send."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from motet.errors import DeploymentError


def read_public_key(file: Path) -> str:
    """The public key in a file, in one form (OpenSSH)."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DeploymentError(f"The key cannot be read: {error.strerror}.", file=file) from error
    if b"PRIVATE KEY" in content:
        raise DeploymentError(
            "This is a private key. It must not leave the hospital.",
            do="Ask for the site's node.pub, and have the site make a new key.",
            file=file,
        )
    try:
        key = serialization.load_ssh_public_key(content)
    except Exception as error:
        raise DeploymentError("This is not a public key of a site.", file=file) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise DeploymentError("This is not an elliptic-curve key.", file=file)
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return key.public_bytes(*form).decode() + "\n"


def as_pem(file: Path) -> bytes:
    """The public key in a file, in the form that Flower compares."""
    return pem(read_public_key(file))


def pem(text: str) -> bytes:
    """A public key (OpenSSH), in the form that Flower compares; empty where it is none."""
    try:
        key = serialization.load_ssh_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        return b""
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.public_bytes(*form)
