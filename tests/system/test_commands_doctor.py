"""`doctor`: each thing that can be wrong is found, with its fix, and what is right is called so."""

import json
import os
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from autorthanc_spool.core.pulse import Pulse
from autorthanc_spool.doctor import folders, probe
from autorthanc_spool.monitor.heartbeat import Heartbeat
from autorthanc_spool.run import access, wiring
from autorthanc_spool.settings import load_settings
from tests.helpers import datasets
from tests.helpers.orthanc_server import LUA_SCRIPT, OrthancServer, free_port
from tests.helpers.site import Site
from tests.helpers.waiting import wait_until

USERS = {"orthanc": "correct-horse-battery"}

Findings = dict[str, list[dict[str, str]]]


@contextmanager
def living(site: Site) -> Iterator[None]:
    """Show a processor as living: this process."""
    site.make_spool()
    heartbeat = Heartbeat(site.spool, Pulse(time.monotonic))
    heartbeat.begin()
    try:
        yield
    finally:
        heartbeat.end()


def doctor(site: Site, *options: str, expect: int = 0, is_alone: bool = False) -> Findings:
    """Run it, beside a living processor unless it is alone; give its findings by what was looked at."""
    with nullcontext() if is_alone else living(site):
        done = site.run("doctor", "--json", *options, expect=expect)
    found: Findings = {}
    for line in done.stdout.splitlines():
        finding = json.loads(line)
        assert set(finding) == {"severity", "what", "text", "fix"}
        # Where the processor says the same, its sentence holds the fix.
        assert finding["severity"] == "ok" or finding["fix"] or any(mark in finding["text"] for mark in ";."), finding
        found.setdefault(finding["what"], []).append(finding)
    return found


def severities(found: Findings, what: str) -> set[str]:
    return {finding["severity"] for finding in found[what]}


def worst(found: Findings) -> list[str]:
    return [f"{one['what']}: {one['text']}" for many in found.values() for one in many if one["severity"] != "ok"]


@pytest.fixture
def secured(tmp_path: Path, fresh_orthanc: Callable[..., OrthancServer]) -> Site:
    """A site as it should be: the Lua script active, a password, a rule, a first run."""
    root = tmp_path / "site"
    for name in ("tmp", "incoming"):
        (root / "spool" / name).mkdir(parents=True)
    site = Site(root, fresh_orthanc(spool=root / "spool", users=USERS))
    for path in (root / "spool", root / "spool" / "tmp", root / "spool" / "incoming"):
        path.chmod(0o2770)
    site.rule("all")
    site.once()
    return site


def become_stable(site: Site, patient: str) -> str:
    study = site.orthanc.upload(datasets.make_instance(patient))
    wait_until(
        lambda: any(row["ChangeType"] == "StableStudy" and row["ID"] == study for row in changes(site)),
        20,
        "the study is stable",
    )
    return study


def changes(site: Site) -> list[dict[str, Any]]:
    return list(site.orthanc.get("/changes?limit=1000")["Changes"])


def test_a_site_as_it_should_be_is_all_right_after_a_probe(secured: Site) -> None:
    found = doctor(secured, "--probe")
    room = [text for text in worst(found) if "free in" not in text]
    assert room == []
    assert {"spool", "markers", "locks", "events", "output", "rules", "Orthanc", "credentials"} <= found.keys()
    assert {"remote access", "clocks", "time zone", "Lua script"} <= found.keys()


def test_each_finding_is_one_line_with_its_fix(site: Site) -> None:
    done = site.run("doctor", expect=None)
    assert all(line.startswith(("ok       ", "warning  ", "broken   ")) for line in done.stdout.splitlines())
    assert "; fix: " in done.stdout


def test_the_probe_leaves_no_trace_and_no_rule_exports_it(secured: Site) -> None:
    with secured.processor():
        found = doctor(secured, "--probe")
        assert severities(found, "Lua script") == {"ok"}
        secured.orthanc.upload(datasets.make_instance("AFTER"))
        assert secured.wait_published("all") == ["AFTER-FamilyAFTER-1"]
    assert len(secured.orthanc.get("/studies")) == 1
    left = [path for path in secured.spool.rglob("*") if probe.STUDY_ID in path.name or probe.SERIES_ID in path.name]
    assert left == []


def test_the_probe_s_ids_are_those_that_orthanc_computes(orthanc: OrthancServer) -> None:
    assert orthanc.upload(probe.instance()) == probe.STUDY_ID
    assert orthanc.get(f"/studies/{probe.STUDY_ID}")["Series"] == [probe.SERIES_ID]


def test_a_script_that_overrides_ours_is_found_by_the_probe(
    tmp_path: Path, fresh_orthanc: Callable[..., OrthancServer]
) -> None:
    other = tmp_path / "other.lua"
    other.write_text("function OnStableStudy(id, tags, metadata) end\n")
    server = fresh_orthanc(spool=tmp_path / "site" / "spool", lua=(LUA_SCRIPT, other))
    site = Site(tmp_path / "site", server)
    site.rule("all")
    found = doctor(site, "--probe", expect=1)
    assert severities(found, "Lua script") == {"broken"}
    assert "LuaScripts" in found["Lua script"][0]["fix"]
    assert server.get("/studies") == []
    assert site.states() == {}


def test_a_stable_age_that_is_not_orthanc_s_is_reported(
    site: Site, fresh_orthanc: Callable[..., OrthancServer]
) -> None:
    site.orthanc = fresh_orthanc(lua=(), stable_age_s=300)
    site.variables["ORTHANC_STABLE_AGE"] = "1"
    found = doctor(site, "--probe", expect=1)
    assert "didn't become stable" in found["Lua script"][0]["text"]
    assert "ORTHANC_STABLE_AGE" in found["Lua script"][0]["fix"]


def test_markers_of_what_became_stable_are_evidence(secured: Site) -> None:
    assert severities(doctor(secured), "Lua script") == {"warning"}
    for name in ("A", "B"):
        become_stable(secured, name)
    wait_until(lambda: len(secured.markers("incoming")) == 4, 20, "Lua wrote its markers")
    secured.once()
    wait_until(
        lambda: severities(doctor(secured), "Lua script") == {"ok"}, 30, "the rows are old enough to be compared"
    )
    for path in secured.markers("done"):
        path.unlink()
    found = doctor(secured, expect=1)
    assert "none has a marker" in found["Lua script"][0]["text"]


def test_an_orthanc_that_is_away_is_75_and_the_rest_is_looked_at_all_the_same(site: Site) -> None:
    site.rule("all")
    site.variables["ORTHANC_URL"] = "http://127.0.0.1:9"
    found = doctor(site, expect=75)
    assert severities(found, "Orthanc") == {"broken"}
    assert "spool" in found
    assert severities(found, "clocks") == {"warning"}


def test_a_wrong_password_is_broken(secured: Site) -> None:
    secured.variables["ORTHANC_PASSWORD"] = "not-the-right-one"
    found = doctor(secured, expect=1)
    assert "refuses the user or the password" in found["Orthanc"][0]["text"]


@pytest.mark.parametrize(
    ("user", "password", "expected"),
    [("orthanc", "orthanc", "broken"), ("site", "changeme", "broken"), ("site", "short", "warning")],
)
def test_passwords_that_everybody_knows_are_found(
    site: Site, fresh_orthanc: Callable[..., OrthancServer], user: str, password: str, expected: str
) -> None:
    site.orthanc = fresh_orthanc(lua=(), users={user: password})
    site.rule("all")
    found = doctor(site, expect=1 if expected == "broken" else 0)
    assert severities(found, "credentials") == {expected}


def test_a_known_user_beside_our_own_is_found(site: Site, fresh_orthanc: Callable[..., OrthancServer]) -> None:
    site.orthanc = fresh_orthanc(lua=(), users=USERS, config={"RegisteredUsers": {**USERS, "alice": "alicePassword"}})
    site.rule("all")
    found = doctor(site, expect=1)
    assert "alice" in found["credentials"][0]["text"]


def test_an_open_door_is_reported(site: Site, fresh_orthanc: Callable[..., OrthancServer]) -> None:
    site.orthanc = fresh_orthanc(lua=(), config={"RemoteAccessAllowed": True, "ExecuteLuaEnabled": True})
    site.rule("all")
    site.variables["ORTHANC_AUTHENTICATION_ENABLED"] = "true"
    found = doctor(site, expect=1)
    assert severities(found, "credentials") == {"broken"}
    assert severities(found, "remote access") == {"broken"}
    assert any("ExecuteLuaEnabled" in one["text"] for one in found["Orthanc"])
    site.variables["ORTHANC_AUTHENTICATION_ENABLED"] = "false"
    assert severities(doctor(site, expect=1), "credentials") == {"warning"}


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        ({"UnknownSopClassAccepted": False}, "private storage classes"),
        ({"AcceptedTransferSyntaxes": ["1.2.840.10008.1.2.1"]}, "some transfer syntaxes"),
    ],
)
def test_an_orthanc_that_refuses_part_of_a_study_is_reported(
    tmp_path: Path, fresh_orthanc: Callable[..., OrthancServer], config: dict[str, Any], refused: str
) -> None:
    site = Site(tmp_path / "site", fresh_orthanc(config=config))
    (tmp_path / "site" / "spool").mkdir()
    site.run("run", "--once")
    (finding,) = doctor(site)["DICOM"]
    assert finding["severity"] == "warning"
    assert refused in finding["text"]
    assert "UnknownSopClassAccepted" in finding["fix"]


def test_an_orthanc_whose_dicom_port_cannot_be_reached_is_reported_as_unknown(
    tmp_path: Path, fresh_orthanc: Callable[..., OrthancServer]
) -> None:
    site = Site(tmp_path / "site", fresh_orthanc(config={"DicomServerEnabled": False}))
    site.variables["ORTHANC_AET_PORT"] = str(free_port())
    site.run("run", "--once")
    (finding,) = doctor(site)["DICOM"]
    assert "isn't known" in finding["text"]


def test_with_orthanc_away_nothing_is_said_of_what_only_it_knows(secured: Site) -> None:
    secured.orthanc.stop()
    found = doctor(secured, expect=75)
    for what in ("credentials", "DICOM", "clocks", "Lua script"):
        (finding,) = found[what]
        assert finding["severity"] == "warning"
        assert "not known" in finding["text"]


def test_a_deleted_marker_is_not_a_fault_of_lua(secured: Site) -> None:
    study = secured.orthanc.upload(datasets.make_instance())
    secured.orthanc.wait_stable(f"/studies/{study}")
    wait_until(lambda: secured.markers("incoming"), 20, "Lua has written the marker")
    secured.run("delete", f"study-{study}")
    secured.orthanc.wait_stable(f"/studies/{study}", margin_s=11, timeout_s=40)
    assert "none has a marker" not in str(doctor(secured)["Lua script"])


def test_what_lies_among_the_markers_and_is_not_one_is_reported(secured: Site) -> None:
    incoming = secured.spool / "incoming"
    for name in ("Müller^Eva.txt", "folder", ".left.json", "study.json.tmp"):
        path = incoming / name
        path.mkdir() if name == "folder" else path.write_text("x")
        os.utime(path, (0, 0))
    (incoming / "just-now").write_text("x")
    told = [finding for finding in doctor(secured)["markers"] if finding["severity"] == "warning"]
    assert [finding["text"].split(" ")[0] for finding in told] == ["4"]
    assert "ller" not in str(told)


def test_a_spool_that_is_mounted_read_only_is_named_as_such_and_once(secured: Site) -> None:
    assert os.geteuid() == 0, "only root may mount; run the tests as root"
    subprocess.run(["mount", "--bind", secured.spool, secured.spool], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", secured.spool], check=True)
        found = doctor(secured, expect=1, is_alone=True)
    finally:
        subprocess.run(["umount", secured.spool], check=True)
    said = [one for many in found.values() for one in many if "read-only" in one["text"]]
    assert [one["what"] for one in said] == ["spool"]
    assert "mount it writable" in said[0]["fix"]


def test_an_orthanc_in_another_time_zone_is_reported(
    site: Site, fresh_orthanc: Callable[..., OrthancServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server's own environment says UTC; a wrapper of the program sets another zone after it.
    wrapper = site.root / "bin" / "Orthanc"
    wrapper.parent.mkdir()
    real = shutil.which("Orthanc", path="/usr/sbin:/usr/bin")
    wrapper.write_text(f'#!/bin/sh\nTZ=Asia/Kolkata exec {real} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    site.orthanc = fresh_orthanc(lua=(), users=USERS)
    found = doctor(site)
    assert "+330 min" in found["time zone"][0]["text"]
    assert "TZ=UTC" in found["time zone"][0]["fix"]


def test_an_open_spool_is_reported_with_the_command_that_closes_it(secured: Site) -> None:
    (secured.spool / "done").chmod(0o2775)
    (secured.spool / "ledger").chmod(0o2770)
    (secured.spool / "incoming").chmod(0o750)
    found = doctor(secured)
    commands = [one["fix"] for one in found["spool"] if one["severity"] == "warning" and "chmod" in one["fix"]]
    assert len(commands) == 3
    for command in commands:
        subprocess.run(command, shell=True, check=True)
    assert not [one for one in doctor(secured)["spool"] if "chmod" in one["fix"]]


def test_an_output_that_is_gone_is_broken(secured: Site) -> None:
    secured.output.rename(secured.root / "unmounted")
    secured.output.mkdir()
    found = doctor(secured, expect=1)
    assert "isn't the one that was used before" in found["output"][0]["text"]


def test_a_rule_s_folder_that_is_a_link_is_broken(secured: Site) -> None:
    (secured.output / "all").rmdir()
    (secured.output / "all").symlink_to(secured.root)
    assert severities(doctor(secured, expect=1), "output") >= {"broken"}


def test_a_broken_rule_is_reported(secured: Site) -> None:
    (secured.rules / "bad.json").write_text("{")
    assert "check" in doctor(secured, expect=1)["rules"][0]["fix"]


def test_a_destination_that_orthanc_does_not_know_is_reported(
    site: Site, fresh_orthanc: Callable[..., OrthancServer]
) -> None:
    site.orthanc = fresh_orthanc(lua=(), users=USERS, config={"DicomModalities": {"PACS": ["PACS", "127.0.0.1", 104]}})
    site.rule("known", Action="FORWARD", DestinationModality="PACS")
    assert severities(doctor(site), "destinations") == {"ok"}
    site.rule("unknown", Action="FORWARD", DestinationModality="ELSEWHERE")
    found = doctor(site, expect=1)
    assert "no modality ELSEWHERE, which the rule unknown sends to" in found["destinations"][0]["text"]


def test_an_audit_log_that_cannot_be_written_is_broken(secured: Site) -> None:
    secured.variables["AUTORTHANC_AUDIT_LOG"] = str(secured.root / "missing" / "audit.jsonl")
    found = doctor(secured, expect=1)
    assert "AUTORTHANC_AUDIT_LOG" in found["audit log"][0]["text"]


def test_a_machine_that_has_no_inotify_left_is_reported(secured: Site) -> None:
    settings = load_settings({}, secured.environment, secured.root)
    parts = wiring.tools(settings, threading.Event(), access.find_spool(settings))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, hard))
    try:
        (finding,) = folders._events(parts)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert finding.severity == "warning"
    assert "AUTORTHANC_OBSERVER=polling" in finding.fix
    secured.variables["AUTORTHANC_OBSERVER"] = "polling"
    assert severities(doctor(secured), "events") == {"ok"}


def test_what_the_doctor_made_is_gone(secured: Site) -> None:
    doctor(secured)
    assert not [path for path in secured.root.rglob("*") if "doctor" in path.name]
