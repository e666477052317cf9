"""The metrics of real runs, as promtool and Prometheus' alert rules read them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autorthanc_spool.monitor import prometheus
from autorthanc_spool.monitor.prometheus import Metric, Sample, Type
from tests.helpers.datasets import make_study
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site
from tests.helpers.waiting import wait_until

EXAMPLES = Path(__file__).parents[2] / "deploy" / "monitoring"
LINE = re.compile(r"(autorthanc_\w+)(?:\{(.*)\})? (\S+)")


@pytest.fixture(autouse=True)
def metrics_file(site: Site) -> Path:
    path = site.root / "metrics" / "autorthanc.prom"
    path.parent.mkdir()
    site.variables["AUTORTHANC_METRICS_FILE"] = str(path)
    return path


def numbers(path: Path) -> dict[str, float]:
    """Read the file by metric and labels; promtool has to like it."""
    data = path.read_bytes()
    done = subprocess.run(["promtool", "check", "metrics"], input=data, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), data.decode()
    lines = [line for line in data.decode().splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if LINE.fullmatch(line)}


def export(site: Site, patient: str = "CANARY", expect: int = 0) -> None:
    study = site.orthanc.upload_all(make_study(patient))
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    site.once(expect=expect)


def test_what_a_rule_did_is_counted_by_outcome_and_goes_on_after_a_restart(site: Site, metrics_file: Path) -> None:
    site.rule("brain")
    export(site)
    first = numbers(metrics_file)
    assert first['autorthanc_outcomes_total{rule="brain",outcome="published"}'] == 1
    assert first['autorthanc_outcomes_total{rule="brain",outcome="failed"}'] == 0
    assert first['autorthanc_matched_total{rule="brain"}'] == 1
    assert first['autorthanc_files_total{rule="brain"}'] == 6
    assert first['autorthanc_bytes_total{rule="brain"}'] > 0
    assert first['autorthanc_runs_total{state="done"}'] == 1
    assert first['autorthanc_run_duration_seconds_bucket{le="+Inf"}'] == 1
    assert first["autorthanc_run_duration_seconds_count"] == 1
    export(site, "OTHER")
    second = numbers(metrics_file)
    assert second['autorthanc_outcomes_total{rule="brain",outcome="published"}'] == 2
    assert [name for name, value in first.items() if "_total" in name and second[name] < value] == []


def test_what_failed_and_what_waits_is_there_by_state(site: Site, metrics_file: Path) -> None:
    site.rule("brain")
    site.make_spool()
    (site.spool / "hold" / "study-held.json").write_text("{}")
    site.touch("00000000-00000000-00000000-00000000-00000000")
    site.once(expect=1)
    found = numbers(metrics_file)
    assert found['autorthanc_queue_length{state="failed"}'] == 1
    assert found['autorthanc_queue_length{state="hold"}'] == 1
    assert found['autorthanc_queue_length{state="incoming"}'] == 0
    assert found['autorthanc_queue_oldest_age_seconds{state="incoming"}'] == 0
    assert found['autorthanc_runs_total{state="failed"}'] == 1


def test_nothing_of_a_patient_is_in_the_metrics(site: Site, metrics_file: Path) -> None:
    site.rule("brain")
    site.make_spool()
    (site.spool / "hold" / "CANARY.json").write_text("{}")
    (site.spool / "PAUSED").write_text("CANARY moved")
    site.run("run", "--once", expect=None)
    (site.spool / "PAUSED").unlink()
    export(site)
    assert "CANARY" not in metrics_file.read_text()


def test_a_live_processor_shows_itself_and_a_broken_rule_and_its_end(site: Site, metrics_file: Path) -> None:
    site.rule("brain")
    with site.processor():
        wait_until(metrics_file.is_file, 30, "the metrics are written")
        wait_until(lambda: numbers(metrics_file).get("autorthanc_orthanc_up") == 1, 30, "Orthanc answers")
        found = numbers(metrics_file)
        assert found['autorthanc_processors{state="at_work"}'] == 1
        assert found['autorthanc_rules{state="active"}'] == 1
        assert found["autorthanc_alarms"] == found["autorthanc_paused"] == 0
        assert 0 <= found["autorthanc_written_timestamp_seconds"] - found["autorthanc_last_look_timestamp_seconds"] < 60
        (site.rules / "brain.json").write_text("{")
        wait_until(lambda: numbers(metrics_file)['autorthanc_rules{state="broken"}'] == 1, 30, "the rule is broken")
    assert numbers(metrics_file)['autorthanc_processors{state="at_work"}'] == 0


def test_an_orthanc_that_goes_away_is_seen(fresh_orthanc: Callable[..., OrthancServer], tmp_path: Path) -> None:
    server = fresh_orthanc(lua=())
    path = tmp_path / "autorthanc.prom"
    far = Site(tmp_path / "far", server, {"AUTORTHANC_METRICS_FILE": str(path)})
    far.rule("brain")
    with far.processor():
        wait_until(lambda: path.is_file() and numbers(path).get("autorthanc_orthanc_up") == 1, 30, "it answers")
        server.stop()
        wait_until(lambda: numbers(path)["autorthanc_orthanc_up"] == 0, 60, "it is away")


def test_two_processors_are_added_up_and_the_dead_one_too(site: Site, metrics_file: Path) -> None:
    site.rule("brain")
    killed = site.start_processor()
    with site.processor():
        at_work = 'autorthanc_processors{state="at_work"}'
        wait_until(lambda: metrics_file.is_file() and numbers(metrics_file).get(at_work) == 2, 60, "two work")
        for name in ("ONE", "TWO", "THREE"):
            study = site.orthanc.upload_all(make_study(name, series=1, instances=1))
            site.orthanc.wait_stable(f"/studies/{study}")
            site.touch(study)
        published = 'autorthanc_outcomes_total{rule="brain",outcome="published"}'
        wait_until(lambda: numbers(metrics_file).get(published) == 3, 60, "all three are counted")
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        wait_until(lambda: numbers(metrics_file)['autorthanc_processors{state="dead"}'] == 1, 60, "one is dead")
        assert numbers(metrics_file)[published] == 3


def test_a_file_that_cannot_be_written_is_said_once_and_stops_nothing(site: Site) -> None:
    site.variables["AUTORTHANC_METRICS_FILE"] = str(site.root / "nowhere" / "autorthanc.prom")
    site.rule("brain")
    with site.processor():
        wait_until(lambda: "Metrics doesn't work" in site.log_end(), 30, "it is said")
        study = site.orthanc.upload_all(make_study("PAT"))
        site.orthanc.wait_stable(f"/studies/{study}")
        site.touch(study)
        site.wait_states(done=1)
    assert site.log.read_text().count("Metrics doesn't work") == 1
    assert len(site.published("brain")) == 1


def test_a_metrics_file_in_the_output_is_refused(site: Site) -> None:
    site.variables["AUTORTHANC_METRICS_FILE"] = str(site.output / "autorthanc.prom")
    assert "AUTORTHANC_METRICS_FILE" in site.run("run", "--once", expect=2).stderr


def test_any_name_of_a_rule_is_written_so_that_promtool_reads_it(tmp_path: Path) -> None:
    names = ['a "b"', "back\\slash", "new\nline", "Hirnstudie ä", "{x}"]
    metric = Metric("things_total", Type.COUNTER, 'a "text"\\', tuple(Sample(1, {"rule": name}) for name in names))
    spread = prometheus.histogram("wait_seconds", "how long", (0.5, 10.0), (1, 2, 3), 31.5)
    path = tmp_path / "names.prom"
    path.write_text(prometheus.text_of([metric, spread, Metric("none", Type.GAUGE, "nothing", ())]))
    found = numbers(path)
    assert found['autorthanc_things_total{rule="a \\"b\\""}'] == 1
    assert found['autorthanc_things_total{rule="new\\nline"}'] == 1
    assert [found[f'autorthanc_wait_seconds_bucket{{le="{limit}"}}'] for limit in ("0.5", "10", "+Inf")] == [1, 3, 6]
    assert found["autorthanc_wait_seconds_sum"] == 31.5


def test_the_example_alerts_and_dashboard_ask_for_metrics_that_exist(site: Site, metrics_file: Path) -> None:
    subprocess.run(["promtool", "check", "rules", EXAMPLES / "alerts.yml"], check=True, capture_output=True)
    dashboard: dict[str, Any] = json.loads((EXAMPLES / "grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    site.rule("brain")
    with site.processor():
        wait_until(lambda: metrics_file.is_file() and "last_look" in metrics_file.read_text(), 30, "it has looked")
        study = site.orthanc.upload_all(make_study("PAT"))
        site.orthanc.wait_stable(f"/studies/{study}")
        site.touch(study)
        wait_until(lambda: 'outcome="published"} 1' in metrics_file.read_text(), 60, "it is counted")
        (site.rules / "broken.json").write_text("{")
        wait_until(lambda: 'trouble{what="the rule broken"} 1' in metrics_file.read_text(), 60, "a trouble is there")
        written = set(re.findall(r"^autorthanc_\w+", metrics_file.read_text(), re.MULTILINE))
    asked = set(re.findall(r"autorthanc_\w+", "\n".join([*expressions, *_alert_expressions()])))
    assert len(asked) > 8
    assert asked <= written


def _alert_expressions() -> list[str]:
    lines = (EXAMPLES / "alerts.yml").read_text().splitlines()
    return [line.partition("expr:")[2] for line in lines if "expr:" in line]
