"""The manifests: a real API server takes them, schedules their pods, and refuses what is wrong."""

import json
import re
import runpy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cluster import Cluster, Object, rendered
from conftest import ROOT
from daemons import until
from fakes import manifest

from detector.memory import memory
from detector.relay.command import check_files
from detector.settings import Settings, read_settings

KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("small", "production")
VERSION = "1.34"
# Bytes, as docs/operate.md has them: the program and a model, what the client holds of records.
PROCESS, RECORDS = 120e6, 150e6
STATE_WIDTH = 1000  # of a model of eight channels
OPERATORS = {"PrometheusRule", "ScaledObject", "ServiceMonitor"}  # whose kinds are not Kubernetes'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifests, with a model where one belongs."""
    copy = tmp_path_factory.mktemp("kubernetes") / "deploy"
    shutil.copytree(KUBERNETES, copy)
    for name in OVERLAYS:
        (copy / "overlays" / name / "model.onnx").write_bytes(bytes(range(256)) * 1000)
    return copy


@pytest.fixture(scope="module")
def cluster(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield made
    finally:
        made.close()


def objects(folder: Path, name: str) -> dict[str, Object]:
    """Return an overlay's objects by kind; of the maps, the settings."""
    every = list(yaml.safe_load_all(rendered(folder / "overlays" / name)))
    return {one["kind"]: one for one in every if "binaryData" not in one}


def container_of(every: dict[str, Object]) -> Object:
    container: Object = every["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]
    return container


@pytest.fixture(params=OVERLAYS)
def overlay(folder: Path, request: pytest.FixtureRequest) -> dict[str, Object]:
    return objects(folder, request.param)


def settings_of(every: dict[str, Object], tmp_path: Path, patch: pytest.MonkeyPatch) -> Settings:
    """Return the settings that the daemon reads in the pod."""
    toml = tmp_path / "detector.toml"
    toml.write_text(every["ConfigMap"]["data"]["detector.toml"])
    for variable in container_of(every)["env"]:
        patch.setenv(variable["name"], variable.get("value", "detector-0"))
    patch.setenv("DETECTOR_CONFIG", str(toml))
    return read_settings()


# Without a server ------------------------------------------------------------------------


OURS = [*KUBERNETES.glob("base/[!k]*.yaml"), *KUBERNETES.glob("components/relay/[!k]*.yaml")]


@pytest.mark.parametrize("file", sorted(OURS), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_file_of_the_base_is_as_its_schema_says(file: Path) -> None:
    kubernetes_validate.validate(yaml.safe_load(file.read_text()), VERSION, strict=True)


def test_every_object_is_as_its_schema_says(overlay: dict[str, Object]) -> None:
    for kind in overlay.keys() - OPERATORS:
        kubernetes_validate.validate(overlay[kind], VERSION, strict=True)


def test_the_settings_are_ones_that_the_daemon_takes(
    overlay: dict[str, Object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(overlay, tmp_path, monkeypatch)
    assert settings.http.port == container_of(overlay)["ports"][0]["containerPort"]
    assert settings.http.host == "0.0.0.0"  # noqa: S104 - the kubelet asks it
    if "ScaledObject" in overlay:
        metadata = overlay["ScaledObject"]["spec"]["triggers"][0]["metadata"]
        assert metadata["consumerGroup"] == settings.kafka.group
        assert metadata["topic"] == settings.kafka.topic
        assert metadata["bootstrapServers"] == settings.kafka.bootstrap_servers


def test_its_own_watchdog_and_its_own_shutdown_come_before_kubernetes(
    overlay: dict[str, Object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(overlay, tmp_path, monkeypatch)
    probe = container_of(overlay)["livenessProbe"]
    killed_s = settings.http.stall_s + probe["periodSeconds"] * probe["failureThreshold"]
    assert killed_s > settings.delivery.watchdog_s
    pod = overlay["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > settings.delivery.shutdown_timeout_s


def test_the_memory_is_enough_for_all_streams_that_the_settings_allow(
    overlay: dict[str, Object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = settings_of(overlay, tmp_path, monkeypatch).state.max_streams
    need = memory(manifest(8, state_width=STATE_WIDTH), streams, partitions=4)
    resources = container_of(overlay)["resources"]
    size = re.fullmatch(r"(\d+)([MG])i", resources["limits"]["memory"])
    assert size
    limit = int(size[1]) * {"M": 1 << 20, "G": 1 << 30}[size[2]]
    assert PROCESS + RECORDS + need.held + need.row * streams < limit  # while it is restored
    assert resources["requests"]["memory"] == resources["limits"]["memory"]


def test_a_model_in_the_image_is_not_hidden_by_a_volume(folder: Path) -> None:
    within = folder / "overlays" / "within"
    shutil.copytree(folder / "overlays" / "small", within)
    kustomization = yaml.safe_load((within / "kustomization.yaml").read_text())
    kustomization["components"] = ["../../components/model-in-image"]
    del kustomization["configMapGenerator"][1]
    (within / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    every = objects(folder, "within")
    pod = every["StatefulSet"]["spec"]["template"]["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == ["settings", "secrets"]
    assert [one["name"] for one in container_of(every)["volumeMounts"]] == ["settings", "secrets"]
    kubernetes_validate.validate(every["StatefulSet"], VERSION, strict=True)


def with_relay(folder: Path) -> dict[str, Object]:
    """Make an overlay `relayed`, the small one with the relay; return what is the relay's."""
    relayed = folder / "overlays" / "relayed"
    if not relayed.exists():
        shutil.copytree(folder / "overlays" / "small", relayed)
        kustomization = yaml.safe_load((relayed / "kustomization.yaml").read_text())
        kustomization["components"] = ["../../components/relay"]
        (relayed / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    every = list(yaml.safe_load_all(rendered(relayed)))
    settings = next(one for one in every if "detector.toml" in one.get("data", {}))
    theirs = {o["kind"]: o for o in every if o["metadata"]["name"] == "detector-relay"}
    return theirs | {"ConfigMap": settings}


def test_a_relay_reads_the_settings_of_its_overlay_and_is_guarded_alike(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every, detector = with_relay(folder), objects(folder, "small")
    for kind in ("NetworkPolicy", "Service", "StatefulSet"):
        kubernetes_validate.validate(every[kind], VERSION, strict=True)
    pod, theirs = (one["StatefulSet"]["spec"]["template"]["spec"] for one in (every, detector))
    assert pod["securityContext"] == theirs["securityContext"]
    container = container_of(every)
    assert container["securityContext"] == container_of(detector)["securityContext"]
    assert container["image"] == container_of(detector)["image"]
    assert pod["volumes"][0]["configMap"]["name"] == every["ConfigMap"]["metadata"]["name"]
    monkeypatch.setenv("DETECTOR_MODEL", "none")  # as the command does
    settings = settings_of(every, tmp_path, monkeypatch)
    check_files(settings.relay)
    assert settings.relay.port == container["ports"][0]["containerPort"]
    assert pod["terminationGracePeriodSeconds"] > 2 * 60 + settings.delivery.shutdown_timeout_s
    probe = container["livenessProbe"]
    killed_s = settings.http.stall_s + probe["periodSeconds"] * probe["failureThreshold"]
    assert killed_s > settings.delivery.watchdog_s


def test_the_rules_are_those_of_prometheus() -> None:
    rules = KUBERNETES.parent / "prometheus" / "rules.yml"
    if not rules.exists():
        pytest.skip(f"no {rules.relative_to(ROOT)} yet")
    script = runpy.run_path(str(KUBERNETES / "rules.py"))
    made = script["prometheus_rule"](rules.read_text(encoding="utf-8"))
    assert script["WRITTEN"].read_text(encoding="utf-8") == made, "run deploy/kubernetes/rules.py"


# With one ---------------------------------------------------------------------------------


def apply(cluster: Cluster, folder: Path, name: str) -> None:
    """Apply an overlay, as the documents say."""
    cluster.done("apply", "--server-side", "-k", folder / "overlays" / name)


def running(cluster: Cluster) -> dict[str, str]:
    """Return the running pods, and each one's node."""
    return {
        pod["metadata"]["name"]: pod["spec"]["nodeName"]
        for pod in cluster.get("pods", "--namespace=detector")["items"]
        if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])
        and "deletionTimestamp" not in pod["metadata"]
    }


def evict(cluster: Cluster, pod: str) -> tuple[int, str]:
    """Ask for a pod's eviction, as a drain does."""
    eviction = {
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": pod, "namespace": "detector"},
    }  # fmt: skip
    path = f"/api/v1/namespaces/detector/pods/{pod}/eviction"
    return cluster.kubectl("create", "--raw", path, "--filename=-", stdin=json.dumps(eviction))


def test_small_grows_to_production_rolls_with_its_files_and_drains_one_by_one(
    cluster: Cluster, folder: Path
) -> None:
    apply(cluster, folder, "small")
    until(lambda: running(cluster).keys() == {"detector-0"}, "one pod")

    apply(cluster, folder, "production")
    cluster.done("scale", "statefulset/detector", "--replicas=3", "--namespace=detector")  # as KEDA
    until(lambda: len(running(cluster)) == 3, "three pods")
    assert len(set(running(cluster).values())) == 3, "one on each node"
    apply(cluster, folder, "production")  # once more: what KEDA has decided stays
    assert len(running(cluster)) == 3

    pod = cluster.get("pod", "detector-2", "--namespace=detector")
    names = {one["name"]: one for one in pod["spec"]["containers"][0]["env"]}
    name = names["DETECTOR_KAFKA__GROUP_INSTANCE_ID"]["valueFrom"]["fieldRef"]
    assert name["fieldPath"] == "metadata.name"

    _rolls_and_rolls_back(cluster, folder)
    _drains_one_by_one(cluster)


def test_a_relay_runs_beside_the_detector(cluster: Cluster, folder: Path) -> None:
    with_relay(folder)
    apply(cluster, folder, "relayed")
    until(lambda: "detector-relay-0" in running(cluster), "its pod")
    cluster.done("delete", "statefulset/detector-relay", "--namespace=detector")


def _rolls_and_rolls_back(cluster: Cluster, folder: Path) -> None:
    def models() -> set[str]:
        pods = cluster.get("pods", "--namespace=detector")["items"]
        volumes = [volume for pod in pods for volume in pod["spec"]["volumes"]]
        return {one["configMap"]["name"] for one in volumes if one["name"] == "model"}

    before = models()
    (folder / "overlays" / "production" / "model.onnx").write_bytes(b"another model")
    apply(cluster, folder, "production")
    rollout = ["rollout", "status", "statefulset/detector", "--namespace=detector", "--timeout=60s"]
    cluster.done(*rollout)
    assert len(models()) == 1
    assert models() != before
    cluster.done("rollout", "undo", "statefulset/detector", "--namespace=detector")
    cluster.done(*rollout)
    assert models() == before
    # The next apply must be told that the way back was an exception.
    command = ["apply", "--server-side", "-k", folder / "overlays" / "production"]
    assert "--force-conflicts" in cluster.kubectl(*command)[1]
    cluster.done(*command, "--force-conflicts")
    cluster.done(*rollout)
    assert models() != before


def _drains_one_by_one(cluster: Cluster) -> None:
    def budget() -> int:
        status = cluster.get("pdb", "detector", "--namespace=detector")["status"]
        return int(status["disruptionsAllowed"])

    until(lambda: len(running(cluster)) == 3 and budget() == 1, "all are ready")
    nodes = [node["metadata"]["name"] for node in cluster.get("nodes")["items"]]
    cluster.done("cordon", *nodes)  # so that who was evicted stays away
    code, said = evict(cluster, "detector-0")
    assert code == 0, said
    until(lambda: budget() == 0, "the budget is used")
    code, said = evict(cluster, "detector-1")
    assert code != 0
    assert "would violate the pod's disruption budget" in said
    cluster.done("uncordon", *nodes)
    until(lambda: len(running(cluster)) == 3 and budget() == 1, "it is back")
    victim, node = min(running(cluster).items())
    cluster.done("drain", node, "--pod-selector=app.kubernetes.io/name=detector", "--timeout=60s")
    assert victim not in running(cluster), "and there is no other node for it"
    cluster.done("uncordon", node)
    until(lambda: len(running(cluster)) == 3, "it has come back")


def change(*path: str | int, to: object) -> Callable[[Object], None]:
    def act(one: Object) -> None:
        at: Any = one
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = to

    return act


SECURITY = ("spec", "containers", 0, "securityContext")
WRONG = {
    "a number that is a word": (
        "StatefulSet", change("spec", "replicas", to="three"), "expected numeric",
    ),
    "a field that does not exist": (
        "StatefulSet", change("spec", "replica", to=3), "not declared in schema",
    ),
    "a budget of two kinds": (
        "PodDisruptionBudget", change("spec", "minAvailable", to=1), "cannot be both set",
    ),
    "a port beyond all ports": (
        "Service", change("spec", "ports", 0, "port", to=99108), "must be between 1 and 65535",
    ),
    "replicas for a scaler, a word": (
        "ScaledObject", change("spec", "maxReplicaCount", to="five"), "maxReplicaCount",
    ),
    "an interval that is none": (
        "ServiceMonitor", change("spec", "endpoints", 0, "interval", to="often"), "interval",
    ),
    "a settings file that is no text": (
        "ConfigMap", change("data", "detector.toml", to=7), "expected string",
    ),
    "root": (
        "Pod", change("spec", "securityContext", "runAsUser", to=0), "must not set runAsUser=0",
    ),
    "privileges to be had": (
        "Pod", change(*SECURITY, "allowPrivilegeEscalation", to=True), "allowPrivilegeEscalation",
    ),
    "a capability": (
        "Pod", change(*SECURITY, "capabilities", to={"add": ["SYS_ADMIN"]}), "capabilities",
    ),
    "a folder of the node": (
        "Pod", change("spec", "volumes", 2, to={"name": "secrets", "hostPath": {"path": "/"}}),
        "hostPath",
    ),
}  # fmt: skip


def test_what_is_wrong_is_refused(cluster: Cluster, folder: Path) -> None:
    apply(cluster, folder, "production")
    for name, (kind, spoil, why) in WRONG.items():
        every = objects(folder, "production")
        template = every["StatefulSet"]["spec"]["template"]
        every["Pod"] = {
            "apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
            "metadata": {"name": "spoilt", "namespace": "detector"},
        }  # fmt: skip
        command = ["apply", "--server-side", "--dry-run=server", "--filename=-"]
        cluster.done(*command, stdin=json.dumps(every[kind]))
        spoil(every[kind])
        code, said = cluster.kubectl(*command, stdin=json.dumps(every[kind]))
        assert (code, why in said) == (1, True), f"{name}: {said}"
