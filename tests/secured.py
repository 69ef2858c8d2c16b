"""An Apache Kafka behind TLS and passwords, and the certificates for it."""

import base64
import datetime as dt
import ipaddress
import json
from pathlib import Path
from tempfile import mkdtemp

from brokers import ApacheKafka, steady_port
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PASSWORD = "correct-horse-battery"  # noqa: S105 - of a broker that lives for a test
SECURED = """
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:CN=detector;User:tokens
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN,OAUTHBEARER
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.expired.ssl.keystore.type=PEM
listener.name.expired.ssl.keystore.location={folder}/expired.pem
listener.name.mutual.ssl.client.auth=required
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_detector="{password}";
listener.name.secure.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
listener.name.secure.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""  # noqa: E501 - a property is a line
PROTOCOLS = {"SECURE": "SASL_SSL", "EXPIRED": "SSL", "MUTUAL": "SSL"}


class Authority:
    """Vouches for certificates of this machine."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self._name, self._key.public_key(), 1, ca=True)
        self.file = self._write(f"{name}.pem", self.certificate)

    def issue(self, name: str, days: float = 1, password: bytes | None = None) -> Path:
        """Write a key, its certificate and ours into one PEM file; it expires in `days`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        secret = serialization.BestAvailableEncryption(password) if password else None
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            secret or serialization.NoEncryption(),
        )
        return self._write(
            f"{name}.pem", pem + self._sign(subject, key.public_key(), days) + self.certificate
        )

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: float, *, ca: bool = False
    ) -> bytes:
        now = dt.datetime.now(dt.UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=9))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    def _write(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content)
        return path


class SecuredKafka(ApacheKafka):
    """Listens also with TLS and passwords, with an expired certificate, and for mutual TLS."""

    def __init__(self) -> None:
        self.folder = Path(mkdtemp(prefix="certificates-"))
        self.authority = Authority(self.folder)
        self.authority.issue("broker")
        self.authority.issue("expired", days=-1)
        self.ports = {name: steady_port() for name in PROTOCOLS}
        super().__init__()

    def at(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def allow(self, user: str) -> None:
        """Let a user do everything with topics, groups and transactions."""
        self._script("kafka-acls.sh", "--bootstrap-server", self.bootstrap_servers, "--add",
                     "--allow-principal", f"User:{user}", "--operation", "All", "--topic", "*",
                     "--group", "*", "--transactional-id", "*")  # fmt: skip

    def _script(self, script: str, *arguments: str) -> None:
        from subprocess import run  # noqa: PLC0415

        done = run([self._home / "bin" / script, *arguments], capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _listeners(self, proxies: tuple[int, ...]) -> dict[str, object]:
        made = super()._listeners(proxies)
        ours = "".join(f",{name}://127.0.0.1:{port}" for name, port in self.ports.items())
        protocols = "".join(f",{name}:{protocol}" for name, protocol in PROTOCOLS.items())
        extra = SECURED.format(folder=self.folder, password=PASSWORD)
        made["listeners"] = f"{made['listeners']}{ours}"
        made["advertised"] = f"{made['advertised']}{ours}"
        made["protocols"] = f"{made['protocols']}{protocols}\n{extra}"
        return made

    def _run(self, script: str, *arguments: str) -> None:
        users = [
            f"SCRAM-SHA-{bits}=[name={user},password={PASSWORD}]"
            for user in ("detector", "stranger")
            for bits in (256, 512)
        ]
        added = [part for user in users for part in ("--add-scram", user)]
        self._script(script, *arguments, str(self._properties), *added)


def token(subject: str) -> str:
    """Return a token that says who we are, and that nobody signed."""
    now = dt.datetime.now(dt.UTC).timestamp()
    parts: list[dict[str, object]] = [
        {"alg": "none"}, {"sub": subject, "iat": now, "exp": now + 600},
    ]  # fmt: skip
    coded = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts]
    return ".".join([*coded, ""])
