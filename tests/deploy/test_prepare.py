"""What runs before the containers, on folders as a site has them. Needs root, as the container has it."""

import json
import os
from pathlib import Path

import pytest

from autorthanc_spool.site.prepare import ORTHANC_USER, check_site, main
from tests.helpers import trees

UID, GID, STRANGER = 1234, 2345, 1777
ENVIRON = {"UID": str(UID), "GID": str(GID), "ORTHANC_PASSWORD": "12345"}
FOLDERS = {
    "rules": "ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH",
    "output": "ORTHANC_AUTOMATION_STORAGE_PATH",
    "spool": "AUTORTHANC_SPOOL_PATH",
}


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mount points as the engine makes them: root's, and empty."""
    made = tmp_path_factory.mktemp("root")
    for name in ("site/rules", "site/output", "site/spool", "site/secrets", "site/orthanc-db"):
        (made / name).mkdir(parents=True)
    for name in ("passwords/orthanc", "passwords/index", "passwords/processor", "notes"):
        (made / name).mkdir(parents=True)
    # The processor's user reaches mounts without passing through the folders above, which pytest closes.
    trees.open_to_all(made)
    return made


def owner(path: Path) -> tuple[int, int, str]:
    status = path.stat()
    return status.st_uid, status.st_gid, f"{status.st_mode & 0o7777:o}"


def test_folders_that_the_engine_made_are_given_to_those_who_use_them(root: Path) -> None:
    assert check_site(ENVIRON, root) == []
    assert {path.name: owner(path) for path in (root / "site").iterdir()} == {
        "rules": (UID, GID, "755"),
        "output": (UID, GID, "750"),
        "spool": (UID, GID, "2770"),
        "secrets": (UID, GID, "700"),
        "orthanc-db": (ORTHANC_USER, GID, "750"),
    }


def test_the_spool_of_a_fresh_clone_is_given_to_those_who_use_it(root: Path) -> None:
    (root / "site/spool/README.md").touch()
    os.chown(root / "site/spool", STRANGER, STRANGER)
    assert check_site(ENVIRON, root) == []
    assert {owner(root / "site/spool" / name) for name in ("", "tmp", "incoming")} == {(UID, GID, "2770")}


def test_an_output_that_holds_a_readme_is_somebodys_own(root: Path) -> None:
    (root / "site/output/README.md").touch()
    os.chown(root / "site/output", STRANGER, STRANGER)
    (root / "site/output").chmod(0o700)
    (problem,) = check_site(ENVIRON, root)
    assert "ORTHANC_AUTOMATION_STORAGE_PATH" in problem
    assert owner(root / "site/output") == (STRANGER, STRANGER, "700")


TWO_GROUPS = {**ENVIRON, "AUTORTHANC_SPOOL_GID": "3456"}


def test_only_the_output_is_for_those_who_read_it_where_the_spool_has_a_group_of_its_own(root: Path) -> None:
    assert check_site(TWO_GROUPS, root) == []
    groups = {path.name: path.stat().st_gid for path in (root / "site").iterdir()}
    assert groups == {"rules": GID, "output": GID, "spool": 3456, "secrets": 3456, "orthanc-db": 3456}
    assert {(root / "site/spool" / name).stat().st_gid for name in ("tmp", "incoming", "ledger", "done")} == {3456}


def test_a_site_that_had_one_group_is_closed_to_it_when_the_spool_gets_its_own(root: Path) -> None:
    assert check_site(ENVIRON, root) == []
    assert check_site(TWO_GROUPS, root) == []
    assert {owner(root / "site" / name) for name in ("spool", "spool/tmp", "spool/incoming")} == {(UID, 3456, "2770")}
    assert owner(root / "site/orthanc-db") == (ORTHANC_USER, 3456, "750")
    assert owner(root / "site/output") == (UID, GID, "750")


def test_a_folder_that_the_processor_reaches_by_its_second_group_is_fine(root: Path) -> None:
    os.chown(root / "site/output", STRANGER, GID)
    (root / "site/output").chmod(0o2770)
    assert check_site(TWO_GROUPS, root) == []


def test_the_spool_is_laid_out_before_orthanc_writes_to_it(root: Path) -> None:
    assert check_site(ENVIRON, root) == []
    assert {owner(root / "site/spool" / name) for name in ("tmp", "incoming")} == {(UID, GID, "2770")}


def test_a_spool_of_another_group_is_opened_to_orthanc(root: Path) -> None:
    os.chown(root / "site/spool", UID, STRANGER)
    (root / "site/spool").chmod(0o750)
    for name in ("tmp", "incoming"):
        (root / "site/spool" / name).mkdir(mode=0o750)
        os.chown(root / "site/spool" / name, UID, STRANGER)
    assert check_site(ENVIRON, root) == []
    assert {owner(root / "site/spool" / name) for name in ("", "tmp", "incoming")} == {(UID, GID, "2770")}


def test_the_second_time_changes_nothing(root: Path) -> None:
    check_site(ENVIRON, root)
    before = {path: (owner(path), path.read_bytes() if path.is_file() else b"") for path in root.rglob("*")}
    assert check_site(ENVIRON, root) == []
    assert before == {path: (owner(path), path.read_bytes() if path.is_file() else b"") for path in root.rglob("*")}


def test_the_way_to_orthanc_s_storage_is_that_of_the_container(root: Path) -> None:
    (problem,) = check_site({**ENVIRON, "AUTORTHANC_ORTHANC_STORAGE_PATH": "./orthanc-db"}, root)
    assert "write AUTORTHANC_ORTHANC_STORAGE_PATH=/orthanc-db" in problem
    assert check_site({**ENVIRON, "AUTORTHANC_ORTHANC_STORAGE_PATH": "/orthanc-db"}, root) == []


@pytest.mark.parametrize(("name", "variable"), FOLDERS.items())
def test_a_strangers_folder_is_left_to_him_and_said(root: Path, name: str, variable: str) -> None:
    (root / "site" / name / "file").touch()
    os.chown(root / "site" / name, STRANGER, STRANGER)
    (root / "site" / name).chmod(0o700)
    (problem,) = check_site({**ENVIRON, variable: "/data/given"}, root)
    assert f"{variable} is /data/given" in problem
    assert f"belongs to user {STRANGER}" in problem
    assert f"sudo chown {UID}:{GID}" in problem
    assert owner(root / "site" / name) == (STRANGER, STRANGER, "700")


def test_a_strangers_folder_that_the_group_may_use_is_fine(root: Path) -> None:
    os.chown(root / "site/output", STRANGER, GID)
    (root / "site/output").chmod(0o2770)
    assert check_site(ENVIRON, root) == []


def test_rules_need_only_be_readable(root: Path) -> None:
    (root / "site/rules/brain.json").touch()
    (root / "site/rules").chmod(0o755)
    assert check_site(ENVIRON, root) == []
    assert owner(root / "site/rules") == (0, 0, "755")


def test_a_file_in_place_of_a_folder_is_said(root: Path) -> None:
    (root / "site/output").rmdir()
    (root / "site/output").touch()
    (problem,) = check_site(ENVIRON, root)
    assert "ORTHANC_AUTOMATION_STORAGE_PATH" in problem
    assert "not a folder" in problem


def test_an_archive_of_the_earlier_system_is_given_to_orthanc(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stored = root / "site/orthanc-db/0a/1b/0a1b0000-file"
    stored.parent.mkdir(parents=True)
    stored.touch()
    assert check_site(ENVIRON, root) == []
    assert owner(stored)[:2] == (ORTHANC_USER, GID)
    assert "ORTAHNC_DB_STORAGE_PATH" in capfd.readouterr().err


def test_a_link_in_the_archive_is_not_followed(root: Path, tmp_path: Path) -> None:
    (root / "site/orthanc-db/0a").mkdir()
    (root / "site/orthanc-db/0a/link").symlink_to(tmp_path)
    assert check_site(ENVIRON, root) == []
    assert owner(tmp_path)[0] == 0


def test_a_folder_of_other_things_is_not_taken_for_an_archive(root: Path) -> None:
    (root / "site/orthanc-db/DOE_JANE").mkdir()
    (problem,) = check_site({**ENVIRON, "ORTAHNC_DB_STORAGE_PATH": "/home"}, root)
    assert "ORTAHNC_DB_STORAGE_PATH is /home, which holds 1 things that aren't Orthanc's" in problem
    assert "DOE" not in problem
    assert owner(root / "site/orthanc-db") == (0, 0, "755")


def test_passwords_lie_where_each_service_looks_readable_for_it_alone(root: Path) -> None:
    assert check_site({**ENVIRON, "ORTHANC_USERNAME": "site"}, root) == []
    read = {
        str(path.relative_to(root / "passwords")): (path.stat().st_uid, f"{path.stat().st_mode & 0o777:o}")
        for path in (root / "passwords").rglob("*")
        if path.is_file()
    }
    assert read.pop("processor/orthanc-password") == (UID, "400")
    assert set(read.values()) == {(999, "400")}
    assert (root / "passwords/processor/orthanc-password").read_text() == "12345"


def test_orthanc_reads_a_password_of_digits_as_text(root: Path) -> None:
    assert check_site({**ENVIRON, "ORTHANC_USERNAME": "site"}, root) == []
    users = json.loads((root / "passwords/orthanc/ORTHANC__REGISTERED_USERS").read_text())
    assert users == {"site": "12345"}


def test_the_indexs_password_is_made_once_and_is_the_same_on_both_sides(root: Path) -> None:
    check_site(ENVIRON, root)
    first = (root / "passwords/index/postgres-password").read_text()
    check_site({**ENVIRON, "ORTHANC_PASSWORD": "other"}, root)
    assert (root / "passwords/index/postgres-password").read_text() == first
    assert json.loads((root / "passwords/orthanc/ORTHANC__POSTGRESQL__PASSWORD").read_text()) == first
    # The script that hands it to PostgreSQL doesn't quote it.
    assert first.replace("-", "").isalnum()


def test_a_switch_may_be_written_as_yes(root: Path) -> None:
    environ = {**ENVIRON, "ORTHANC_AUTHENTICATION_ENABLED": "no", "AUTORTHANC_DICOM_STRICT": "yes"}
    assert check_site(environ, root) == []
    names = ("AUTHENTICATION_ENABLED", "DICOM_ALWAYS_ALLOW_STORE", "DICOM_CHECK_CALLED_AET")
    given = [json.loads((root / f"passwords/orthanc/ORTHANC__{name}").read_text()) for name in names]
    assert given == [False, False, True]


def test_bad_settings_stop_before_any_folder_is_touched(root: Path) -> None:
    problems = check_site({**ENVIRON, "ORTHANC_DICOM_MODALITIES": "{", "ORTHANC_STABLE_AGE": "soon"}, root)
    assert [problem.split()[0] for problem in problems] == ["ORTHANC_STABLE_AGE", "ORTHANC_DICOM_MODALITIES"]
    assert owner(root / "site/output") == (0, 0, "755")
    assert not list((root / "passwords/orthanc").iterdir())


@pytest.mark.parametrize(
    "variable", ["AUTORTHANC_PSEUDONYM_KEY_FILE", "AUTORTHANC_AUDIT_LOG", "AUTORTHANC_AUDIT_KEY_FILE"]
)
def test_a_private_file_outside_of_secrets_is_said(root: Path, variable: str) -> None:
    (problem,) = check_site({**ENVIRON, variable: "/etc/elsewhere.key"}, root)
    assert problem.endswith(f"write {variable}=./secrets/elsewhere.key.")


@pytest.mark.parametrize("variable", ["ORTHANC_DISPLAY_NAME", "ORTHANC_AET_NAME"])
def test_a_quotation_mark_that_orthanc_cant_be_given_is_said(root: Path, variable: str) -> None:
    (problem,) = check_site({**ENVIRON, variable: 'A"B'}, root)
    assert problem.startswith(variable)


def test_everything_is_said_in_sentences_and_ends_with_the_code_for_settings(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["site"], {**ENVIRON, "UID": "me"}, root) == 2
    assert capfd.readouterr().err.startswith("UID in the environment is 'me'; expected a number")
