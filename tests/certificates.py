"""Certificates of a test's own, made by openssl when they are needed."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from servers import need


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files."""

    file: Path
    key: Path


def authority(folder: Path, name: str) -> Certificate:
    """An authority that nobody trusts unless told to."""
    return _made(folder, name, ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"])


def certificate(folder: Path, name: str, signer: Certificate, host: str = "IP:127.0.0.1") -> Certificate:
    """The certificate of a server, for a host such as ``DNS:example.org``."""
    extensions = ["basicConstraints=critical,CA:FALSE", f"subjectAltName={host}"]
    return _made(folder, name, extensions, ["-CA", signer.file, "-CAkey", signer.key])


def _made(folder: Path, name: str, extensions: list[str], words: list[object] | None = None) -> Certificate:
    made = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
    # Nothing of the machine's own configuration.
    (folder / "openssl.cnf").write_text("[req]\ndistinguished_name = name\n[name]\n")
    command: list[object] = [need("openssl", "openssl"), "req", "-x509", "-config", folder / "openssl.cnf", "-nodes"]
    command += [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
        "-out",
        made.file,
        "-keyout",
        made.key,
    ]
    for extension in [*extensions, "subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid:always"]:
        command += ["-addext", extension]
    subprocess.run([str(word) for word in [*command, *(words or [])]], check=True, capture_output=True)
    return made
