"""The manifests for Kubernetes: each is what its schema says, they fit together, and what they name is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from deploy_tools import CHECKOUT

from autorthanc_spool.commands.main import cli
from autorthanc_spool.monitor import metrics
from autorthanc_spool.settings import load_settings
from autorthanc_spool.settings.variables import NAMES

FOLDER = CHECKOUT / "deploy" / "kubernetes"
# The oldest release that is looked at, and one that is current.
RELEASES = ("1.27", "1.33")
# Of no schema that Kubernetes brings.
FOREIGN = {"Kustomization", "ScaledObject"}


def documents(folder: str = "*") -> dict[str, dict[str, Any]]:
    return {
        str(path.relative_to(FOLDER)): one
        for path in sorted(FOLDER.glob(f"{folder}/*.yaml"))
        for one in yaml.safe_load_all(path.read_text())
    }


MANIFESTS = {name: one for name, one in documents().items() if one["kind"] not in FOREIGN}


def pod() -> dict[str, Any]:
    return dict(MANIFESTS["plain/processor.yaml"]["spec"]["template"]["spec"])


def settings() -> dict[str, str]:
    lines = (FOLDER / "plain" / "settings.env").read_text().splitlines()
    return dict(line.partition("=")[::2] for line in lines)  # type: ignore[misc]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_what_its_schema_says(name: str, release: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], release, strict=True)


def test_a_mistyped_key_would_be_found() -> None:
    broken = {**MANIFESTS["plain/disruption.yaml"], "spec": {"minAvailabel": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, RELEASES[0], strict=True)


@pytest.mark.parametrize("folder", ["plain", "keda"])
def test_every_manifest_is_a_resource_of_its_kustomization(folder: str) -> None:
    found = documents(folder)
    named = set(found[f"{folder}/kustomization.yaml"]["resources"]) - {"../plain"}
    assert named == {Path(name).name for name in found} - {"kustomization.yaml"}


def test_kustomize_puts_it_together(tmp_path: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl on this machine")
    done = subprocess.run(["kubectl", "kustomize", FOLDER / "keda"], capture_output=True, text=True, check=True)
    found = {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}
    assert set(found) == {one["kind"] for one in MANIFESTS.values()} | {"ScaledObject", "ConfigMap"}
    # KEDA alone says how many.
    assert "replicas" not in found["Deployment"]["spec"]
    source = found["Deployment"]["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    assert source == found["ConfigMap"]["metadata"]["name"]


def test_the_settings_are_ours_and_have_no_contradiction(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("a-long-and-good-one")
    variables = {**settings(), "ORTHANC_PASSWORD_FILE": str(tmp_path / "password")}
    assert set(variables) <= set(NAMES)
    assert load_settings({}, variables, tmp_path).observer == "polling"


def test_the_pod_has_what_its_settings_name() -> None:
    mounted = {one["mountPath"] for one in pod()["containers"][0]["volumeMounts"]}
    paths = [Path(value) for value in settings().values() if value.startswith("/")]
    assert paths
    for path in paths:
        assert mounted & set(map(str, path.parents)), path
    volumes = {one["name"]: one for one in pod()["volumes"]}
    assert set(volumes) == {one["name"] for container in pod()["containers"] for one in container["volumeMounts"]}
    assert volumes["site"]["persistentVolumeClaim"]["claimName"] == MANIFESTS["plain/claim.yaml"]["metadata"]["name"]
    assert MANIFESTS["plain/claim.yaml"]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_probes_are_commands_that_there_are() -> None:
    container = pod()["containers"][0]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        program, command, *options = container[probe]["exec"]["command"]
        assert (program, command) == ("autorthanc-spool", "status")
        found = cli.get_command(None, "status")  # type: ignore[arg-type]
        assert found is not None
        assert set(options) <= {option for parameter in found.params for option in parameter.opts}
    # A pod is never started again for what waits in the spool.
    assert "--here" in container["livenessProbe"]["exec"]["command"]


def test_the_pods_are_found_by_who_looks_for_them() -> None:
    deployment = MANIFESTS["plain/processor.yaml"]
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels
    assert MANIFESTS["plain/disruption.yaml"]["spec"]["selector"]["matchLabels"].items() <= labels
    scaled = documents("keda")["keda/scaling.yaml"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == deployment["metadata"]["name"]


def test_keda_asks_for_a_metric_that_is_written() -> None:
    [trigger] = documents("keda")["keda/scaling.yaml"]["spec"]["triggers"]
    asked = set(re.findall(r"autorthanc_(\w+)", trigger["metadata"]["query"]))
    source = Path(metrics.__file__).read_text()
    assert asked == {"queue_length"}
    assert all(f'"{name}"' in source for name in asked)


def test_no_container_may_do_more_than_it_needs() -> None:
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["automountServiceAccountToken"] is False
    for container in pod()["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_no_secret_lies_among_the_manifests() -> None:
    assert {one["kind"] for one in documents().values()} & {"Secret"} == set()
    assert not any("secretGenerator" in one for one in documents().values())
