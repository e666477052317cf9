"""The lab itself, before anything is tested on it."""

from __future__ import annotations

from tests.cluster.lab import Lab


def test_two_hosts_share_a_file_system_and_run_jobs(lab: Lab) -> None:
    assert sorted(lab.a.run("srun", "-N2", "hostname").split()) == ["nodea", "nodeb"]
    lab.a.run("sh", "-c", f"echo here > {lab.shared}/word")
    assert lab.b.run("cat", lab.shared / "word") == "here\n"
