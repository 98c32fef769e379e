"""Who cannot reach whom on a real network: rewards reach nothing, strangers reach nobody, insiders need a token."""

import json

import pytest

from e2e.cluster.jobs import Team
from rlvr_api import contract

KNOCK = """
import json, socket, sys
found = {}
for where in sys.argv[1:]:
    host, port = where.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=4).close()
        found[where] = "connected"
    except OSError as error:
        found[where] = type(error).__name__
print(json.dumps(found))
"""
ASK = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=5).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
API_SERVER, DNS = "10.96.0.1:443", "10.96.0.10:53"


def attempts(team: Team, pod: str, container: str, *addresses: str) -> dict[str, str]:
    """What becomes of a TCP connection from a container to each address."""
    command = ("exec", pod, "-c", container, "--", "python3", "-c", KNOCK, *addresses)
    found: dict[str, str] = json.loads(team.kubectl(*command))
    return found


def ask(team: Team, pod: str, container: str, url: str) -> int:
    """The status with which a request without a token is answered."""
    return int(team.kubectl("exec", pod, "-c", container, "--", "python3", "-c", ASK, url))


@pytest.mark.timeout(1800)
def test_rewards_reach_nothing_strangers_reach_nobody_and_a_token_is_wanted_inside(team: Team) -> None:
    team.apply(team.manifest("sums", steps=400))
    team.wait_for("sums", "Running", seconds=900)
    pods = {role: team.pods("sums", role)[0] for role in ("learner", "rollout", "reward")}
    names = {role: pod["metadata"]["name"] for role, pod in pods.items()}
    ip = {role: pod["status"]["podIP"] for role, pod in pods.items()}
    agent, engine = f"{ip['rollout']}:{contract.PORT_AGENT}", f"{ip['rollout']}:{contract.PORT_ENGINE}"
    coordinator, reward = f"{ip['learner']}:{contract.PORT_COORDINATOR}", f"{ip['reward']}:{contract.PORT_REWARD}"
    store = team.store.endpoint.removeprefix("http://")

    out = attempts(team, names["reward"], "reward", API_SERVER, DNS, store, coordinator, agent)
    team.start_pod("stranger", pods["reward"]["spec"]["containers"][0]["image"])
    foreign = attempts(team, "stranger", "main", agent, engine, coordinator, reward, store)
    inside = attempts(team, names["learner"], "coordinator", agent, engine)
    print(f"\n{json.dumps({'reward': out, 'stranger': foreign, 'coordinator': inside}, indent=1)}")

    assert set(out.values()) == {"TimeoutError"}
    assert foreign.pop(store) == "connected", "the stranger has a network"
    assert set(foreign.values()) == {"TimeoutError"}
    assert inside.pop(agent) == "connected"
    assert inside[engine] != "connected"
    assert ask(team, names["learner"], "coordinator", f"http://{agent}/status") == 401
    assert ask(team, names["learner"], "coordinator", f"http://{agent}/metrics") == 200
