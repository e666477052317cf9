"""Something else in the place of a rule's folder: it is said what it is, and holds up that rule alone."""

from pathlib import Path

import pytest

from tests.helpers import datasets
from tests.helpers.site import Site, send_and_touch
from tests.helpers.waiting import wait_until

NAME = "PAT1-FamilyPAT1-1"


def block(path: Path, how: str) -> None:
    path.parent.mkdir(exist_ok=True)
    if how == "a symbolic link":
        path.symlink_to(path.with_name("elsewhere"))
        path.with_name("elsewhere").mkdir()
    else:
        path.write_text("somebody's")


@pytest.mark.parametrize("how", ["a symbolic link", "a file"])
def test_what_is_in_the_place_of_a_rules_folder_is_named_and_holds_up_this_rule_alone(site: Site, how: str) -> None:
    site.rule("blocked")
    site.rule("free")
    block(site.output / "blocked", how)
    said = f"{site.output}/blocked is {how}"
    checked = site.run("check").stdout
    assert f"blocked.json: warning: {said}" in checked
    assert checked.count("warning") == 1
    with site.processor():
        wait_until(lambda: said in site.run("status").stdout, 20, "status says so")
        send_and_touch(site, datasets.make_instance())
        site.wait_states(failed=1)
        assert site.published("free") == [NAME]
        found = [line for line in site.run("doctor", expect=1).stdout.splitlines() if "blocked" in line and how in line]
        assert [line.split(":")[0] for line in found] == ["broken   output"]
        (site.output / "blocked").unlink()
        over = "the output's folder of the rule blocked: all right again"
        wait_until(lambda: over in site.log_end(), 20, "it is said to be over")
        site.run("requeue", "--failed")
        site.wait_states(done=1)
    assert site.published("blocked") == [NAME]
    log = site.log.read_text()
    assert (log.count(said), "permission is denied" in log) == (1, False)


def test_a_file_in_the_place_of_one_rules_folder_is_no_error_of_a_run_that_does_not_need_it(site: Site) -> None:
    site.rule("blocked", Tags=[{"TagName": "PatientID", "Value": "OTHER"}])
    site.rule("free")
    block(site.output / "blocked", "a file")
    send_and_touch(site, datasets.make_instance())
    site.once()
    assert site.published("free") == [NAME]


def test_a_file_that_a_rule_delivers_to_is_not_called_a_missing_folder(site: Site) -> None:
    path = site.root / "share" / "trial"
    block(path, "a file")
    site.variables["AUTORTHANC_DELIVER_ROOTS"] = str(path.parent)
    site.rule("far", Deliver=str(path))
    texts = [site.run("check").stdout, site.once(expect=75).stderr]
    assert [f"{path} is not a folder; " in text for text in texts] == [True, True], texts
    assert [text for text in texts if "missing" in text or "there is no folder" in text] == []
