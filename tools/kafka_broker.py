"""Runs a Kafka broker of one node on the loopback, for tests and demos: `python tools/kafka_broker.py [PORT]`.

It prints its address when it answers, and goes on until it is ended; then its messages are gone. The jars are those of
`tools/kafka_jars.py`. What is missing is said on the error stream, and the process ends with 1.
"""

from __future__ import annotations

import base64
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

#: Small, and quick to start: it lives for seconds.
_JVM = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:-UsePerfData")
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_START_SECONDS = 60.0


def configured(jars: str, home: Path, port: int, guarded: int, controller: int) -> list[str]:
    """A broker's settings and empty storage in a folder.

    Args:
        jars: the folder of the jars.
        home: the folder.
        port: where it is for everybody.
        guarded: where it asks for a password: user `tests`, password `right`.
        controller: where it speaks with itself.

    Returns:
        The command that runs it, from the folder.
    """
    places = {"PLAINTEXT": port, "SASL_PLAINTEXT": guarded, "CONTROLLER": controller}
    listeners = [f"{name}://127.0.0.1:{place}" for name, place in places.items()]
    properties = [
        "process.roles=broker,controller",
        "node.id=1",
        f"controller.quorum.voters=1@127.0.0.1:{controller}",
        f"listeners={','.join(listeners)}",
        f"advertised.listeners={','.join(listeners[:2])}",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names=CONTROLLER",
        "sasl.enabled.mechanisms=PLAIN",
        f'listener.name.sasl_plaintext.plain.sasl.jaas.config={_PLAIN} required user_tests="right";',
        f"log.dirs={home / 'data'}",
        "offsets.topic.replication.factor=1",
        "offsets.topic.num.partitions=1",
        "transaction.state.log.replication.factor=1",
        "transaction.state.log.min.isr=1",
        "group.initial.rebalance.delay.ms=0",
        "group.min.session.timeout.ms=100",
        "message.max.bytes=20000000",
        "auto.create.topics.enable=false",
        "log.cleaner.enable=false",
        # Messages may be of any time.
        "log.retention.ms=-1",
    ]
    (home / "server.properties").write_text("\n".join(properties) + "\n")
    java = ["java", *_JVM, "-cp", f"{jars}/*"]
    # One that begins with a dash would be taken for an option.
    cluster = "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
    format_ = [*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", "server.properties"]
    subprocess.run(format_, cwd=home, check=True, capture_output=True)
    return [*java, "kafka.Kafka", "server.properties"]


def main(port: str = "0") -> str:
    """Run a broker until SIGTERM or Ctrl-C; returns what is wrong, or nothing."""
    fetched = subprocess.run(
        [sys.executable, Path(__file__).with_name("kafka_jars.py")], capture_output=True, text=True
    )
    if fetched.returncode:
        return fetched.stderr.strip()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    own, guarded, controller = (_free_port(int(wanted)) for wanted in (port, "0", "0"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        command = configured(fetched.stdout.strip(), Path(name), own, guarded, controller)
        with Path(name, "log").open("wb") as log:
            broker = subprocess.Popen(command, cwd=name, stdout=log, stderr=log)
        try:
            until = time.monotonic() + _START_SECONDS
            while not _answers(own):
                if broker.poll() is not None or time.monotonic() > until:
                    return f"Kafka does not start: {Path(name, 'log').read_text(errors='replace')[-500:]}"
                time.sleep(0.1)
            print(f"127.0.0.1:{own}", flush=True)
            broker.wait()
        except KeyboardInterrupt:
            pass
        finally:
            broker.kill()
            broker.wait()
    return ""


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", wanted))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) or 0)
