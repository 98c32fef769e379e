"""Asks every replica behind the Service SERVICE whether it is ready and whether it leads; tries for a minute."""

import os
import socket
import sys
import time
import urllib.request

PORT = 8080


def ask(address, path):
    host = f"[{address}]" if ":" in address else address
    with urllib.request.urlopen(f"http://{host}:{PORT}{path}", timeout=5) as answer:
        return answer.read().decode()


def problem():
    """What is wrong, in a sentence; empty when nothing is."""
    found = sorted({it[4][0] for it in socket.getaddrinfo(os.environ["SERVICE"], PORT, type=socket.SOCK_STREAM)})
    if len(found) != int(os.environ["REPLICAS"]):
        return f"{len(found)} of {os.environ['REPLICAS']} replicas are ready: {', '.join(found)}"
    for address in found:
        ask(address, "/readyz")
    leaders = [address for address in found if "\nrlvr_operator_leader 1.0" in ask(address, "/metrics")]
    return "" if len(leaders) == 1 else f"{len(leaders)} of {len(found)} replicas lead; one should"


ends = time.monotonic() + 60
while True:
    try:
        wrong = problem()
    except OSError as error:
        wrong = f"{os.environ['SERVICE']}: {error}"
    if not wrong:
        print("Every replica is ready and one of them leads.")
        sys.exit(0)
    if time.monotonic() > ends:
        sys.exit(wrong)
    time.sleep(2)
