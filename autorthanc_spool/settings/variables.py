"""The variables that set this program up: names, defaults, meanings. `.env.example` and the docs follow this table.

The names without the prefix `AUTORTHANC_` come from the system that this one replaces, with two odd spellings; sites
have files with them, so both spellings are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autorthanc_spool.settings import values


@dataclass(frozen=True)
class Variable:
    """One variable. `field` is its name in Settings, `expected` ends a sentence that begins with "expected".

    `default` is as one would write it; empty when there is none, then `example` shows one.
    """

    name: str
    field: str
    default: str
    description: str
    parse: Callable[[str], object]
    expected: str
    example: str = ""
    other_spelling: str = ""
    is_secret: bool = False

    @property
    def spellings(self) -> tuple[str, ...]:
        """All names that are read, the documented one first."""
        return (self.name, self.other_spelling) if self.other_spelling else (self.name,)


_BOOLEAN = "true or false (yes, no, 1 and 0 are read as well)"
_ID = "a number of a user or group, 0 or more"
_PORT = "a port from 1 to 65535"
_PATH = "a path"
_SECONDS = "a number of seconds above 0 and up to 86400"
_DAYS = "a number of days, 0 or more"

# Names the folder that holds the `.env`; so it can't be in there.
SITE = "AUTORTHANC_SITE"

VARIABLES: tuple[Variable, ...] = (
    Variable("UID", "uid", "1000", "Owner of what is published, when running as root.", values.user_or_group, _ID),
    Variable(
        "GID", "gid", "1000",
        "Group of what is published, when running as root, or where AUTORTHANC_SPOOL_GID is another one.",
        values.user_or_group, _ID,
    ),
    Variable(
        "AUTORTHANC_SPOOL_GID", "spool_gid", "",
        "Group of the spool, when those who read the output mustn't see it; when it isn't set, GID.",
        values.user_or_group, _ID, example="1001",
    ),
    Variable(
        "ORTHANC_WEB_PORT", "web_port", "",
        "Port of the web server: 80 with Docker Compose when it isn't set, 8042 without Docker.",
        values.port, _PORT, example="80",
    ),
    Variable(
        "ORTAHNC_DB_STORAGE_PATH", "db_storage_path", "./orthanc-db",
        "Folder of Orthanc's data.",
        values.path, _PATH, other_spelling="ORTHANC_DB_STORAGE_PATH",
    ),
    Variable(
        "ORTHANC_STABLE_AGE", "stable_age_s", "300",
        "A study counts as complete when nothing has arrived for so long.",
        # Orthanc takes 0 as 60.
        values.whole_number(1, 86400), "a whole number of seconds from 1 to 86400",
    ),
    Variable(
        "ORTHANC_AET_NAME", "aet_name", "AUTORTHANCAET",
        "DICOM application entity title of Orthanc.",
        values.aet, "1 to 16 ASCII characters without a backslash",
    ),
    Variable("ORTHANC_AET_PORT", "aet_port", "4006", "DICOM port of Orthanc.", values.port, _PORT),
    Variable(
        "ORTHANC_DICOM_MODALITIES", "dicom_modalities", "{}",
        "DICOM nodes that Orthanc knows, as JSON on one line.",
        values.modalities, 'a JSON object of name → ["AET", "host", port]',
        example="""'{"PACS": ["PACSAET", "10.0.0.5", 104]}'""",
    ),
    Variable(
        "ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH", "rules_path", "./automation_scripts",
        "Folder of the rules.", values.path, _PATH,
    ),
    Variable(
        "ORTHANC_AUTOMATION_STORAGE_PATH", "output_path", "./output",
        "Folder for what is published, with one folder per rule.", values.path, _PATH,
    ),
    Variable(
        "AUTORTHANC_DELIVER_ROOTS", "deliver_roots", "",
        "Folders at or below which rules may deliver (Deliver), separated by colons; when it isn't set, none.",
        values.folders, "whole paths with colons between", example="/mnt/share:/mnt/trials",
    ),
    Variable(
        "ORTHANC_DISPLAY_NAME", "display_name", "autorthanc",
        "Name that Orthanc shows in its pages.", values.plain_text, "text",
    ),
    Variable(
        "ORTHANC_AUTHENTICATION_ENABLED", "authentication_enabled", "true",
        "Whether Orthanc asks for a user and a password.", values.boolean, _BOOLEAN,
    ),
    Variable(
        "POSGRES_DOCKER_EXPOSE_PORT", "postgres_port", "5432",
        "Port of PostgreSQL on 127.0.0.1, with Docker Compose.",
        values.port, _PORT, other_spelling="POSTGRES_DOCKER_EXPOSE_PORT",
    ),
    Variable(
        "AUTORTHANC_SPOOL_PATH", "spool_path", "./spool",
        "Folder of the spool.", values.path, _PATH,
    ),
    Variable(
        "ORTHANC_URL", "orthanc_url", "",
        "Where the processor reaches Orthanc; when it isn't set, this machine with ORTHANC_WEB_PORT, else port 8042.",
        values.url, "an http or https address without a user in it", example="http://127.0.0.1:8042",
    ),
    Variable(
        "AUTORTHANC_ORTHANC_STORAGE_PATH", "orthanc_storage_path", "",
        "Orthanc's storage, where it lies on this machine: stored files are copied from it instead of by HTTP.",
        values.path, _PATH, example="/var/lib/orthanc/db",
    ),
    Variable(
        "ORTHANC_USERNAME", "username", "orthanc",
        "User of Orthanc.", values.user_name, "a name without a colon",
    ),
    Variable(
        "ORTHANC_PASSWORD", "password", "",
        "Password of that user; single quotes keep every character as it is.",
        values.secret, "text", example="'…'", is_secret=True,
    ),
    Variable(
        "ORTHANC_PASSWORD_FILE", "password_file", "",
        "File that holds the password, instead of ORTHANC_PASSWORD.",
        values.path, _PATH, example="./secrets/orthanc-password",
    ),
    Variable(
        "AUTORTHANC_POLL_INTERVAL_S", "poll_interval_s", "10",
        "The spool is looked through at least this often, for events that were lost.", values.seconds, _SECONDS,
    ),
    Variable(
        "AUTORTHANC_OBSERVER", "observer", "inotify",
        "How changes of the spool are noticed: polling for file systems without inotify.",
        values.word("inotify", "polling"), "inotify or polling",
    ),
    Variable(
        "AUTORTHANC_VERIFY", "verify", "md5",
        "What is compared with Orthanc's record for every file.", values.word("md5", "size"), "md5 or size",
    ),
    Variable(
        "AUTORTHANC_UMASK", "umask", "027",
        "Permissions taken from what is published; 007 where another user of the group must move folders away.",
        values.umask, "three octal digits whose first is 0",
    ),
    Variable(
        "AUTORTHANC_DOWNLOAD_THREADS", "download_threads", "6",
        # Orthanc serves 50 requests at once; of these threads, two or three wait for the disk at any moment.
        "Files fetched from Orthanc at the same time.", values.whole_number(1, 32), "a whole number from 1 to 32",
    ),
    Variable(
        "AUTORTHANC_DICOM_STRICT", "dicom_strict", "false",
        "Whether only the nodes of ORTHANC_DICOM_MODALITIES may send to Orthanc.", values.boolean, _BOOLEAN,
    ),
    Variable(
        "AUTORTHANC_RECONCILE_INTERVAL_S", "reconcile_interval_s", "300",
        "Orthanc is compared with the ledger this often, for what was missed.", values.seconds, _SECONDS,
    ),
    Variable(
        "AUTORTHANC_CA_FILE", "ca_file", "",
        "Certificates (PEM) that an https Orthanc is checked against, instead of the system's.",
        values.path, _PATH, example="/etc/ssl/our-ca.pem",
    ),
    Variable(
        "AUTORTHANC_ALLOW_PLAIN_HTTP", "allow_plain_http", "false",
        "Whether the password may go to another machine without encryption.", values.boolean, _BOOLEAN,
    ),
    Variable(
        "AUTORTHANC_AUDIT_LOG", "audit_log", "",
        "File that gets a line for everything that left.", values.path, _PATH, example="./audit.jsonl",
    ),
    Variable(
        "AUTORTHANC_AUDIT_KEY_FILE", "audit_key_file", "./secrets/audit.key",
        "Key that StudyInstanceUIDs are hashed with in that file; without it, its lines can't be found by them.",
        values.path, _PATH,
    ),
    Variable(
        "AUTORTHANC_PSEUDONYM_KEY_FILE", "pseudonym_key_file", "./secrets/pseudonym.key",
        "Key that pseudonyms are made with; keep a copy of it in a safe place.", values.path, _PATH,
    ),
    Variable(
        "AUTORTHANC_FORWARD_EXPIRY", "forward_expiry_s", "5d",
        "Forwarding to a destination that is down is given up after so long.",
        values.duration, "a duration like 5d, 12h, 30m or 90s, up to 3650d",
    ),
    Variable(
        "AUTORTHANC_DONE_RETENTION_DAYS", "done_retention_days", "90",
        "How long records of what was done are kept; 0 keeps them permanently.", values.whole_number(0, 36500), _DAYS,
    ),
    Variable(
        "AUTORTHANC_DONE_UNMATCHED_RETENTION_DAYS", "done_unmatched_retention_days", "7",
        "How long records of what no rule wanted are kept; 0 keeps them permanently.",
        values.whole_number(0, 36500), _DAYS,
    ),
    Variable(
        "AUTORTHANC_ALERT_AGE_S", "alert_age_s", "3600",
        "What has waited for longer in incoming/ or deferred/ is worth an alarm.",
        values.duration, "a number of seconds, or a duration like 30m, 12h or 2d, up to 3650d",
    ),
    Variable(
        "TZ", "time_zone", "",
        "Time zone of the hours in rules (Between); when it isn't set, the machine's, with Docker Compose UTC.",
        values.time_zone, "a time zone of this machine, as Europe/Zurich", example="Europe/Zurich",
    ),
    Variable(
        "AUTORTHANC_METRICS_FILE", "metrics_file", "",
        "File that the numbers for Prometheus are written to, for node_exporter's textfile collector.",
        values.path, _PATH, example="/var/lib/node_exporter/autorthanc.prom",
    ),
    Variable(
        "AUTORTHANC_LOG_FORMAT", "log_format", "",
        "How the log is written; when it isn't set, journal where it leads into systemd's, else text.",
        values.word("text", "json", "journal"), "text, json or journal", example="json",
    ),
    Variable(
        "AUTORTHANC_NOTIFY_COMMAND", "notify_command", "",
        "Command that is run, without a shell, for each notice.",
        values.command, "a command whose quotes are closed", example="/usr/local/bin/tell-us",
    ),
    Variable(
        "AUTORTHANC_NOTIFY_URLS", "notify_urls", "",
        "Apprise addresses that notices are sent to, separated by spaces.",
        values.secret, "text", example="'mailto://…'", is_secret=True,
    ),
    Variable(
        "AUTORTHANC_PROCESSOR_NETWORK", "processor_network", "nowhere",
        "With Docker Compose: outside lets the processor's container out of this machine, to send notices.",
        values.word("nowhere", "outside"), "nowhere or outside",
    ),
    Variable(
        "AUTORTHANC_UNCOLLECTED_AFTER_S", "uncollected_after_s", "0",
        "A notice says what was published and is still in the output after this long; 0 turns it off.",
        values.duration_or_none, "0, a number of seconds, or a duration like 30m, 12h or 2d, up to 3650d",
    ),
    Variable(
        "AUTORTHANC_LOG_LEVEL", "log_level", "info",
        "How much is logged.", values.word("debug", "info", "warning", "error"), "debug, info, warning or error",
    ),
)  # fmt: skip

NAMES: frozenset[str] = frozenset(spelling for variable in VARIABLES for spelling in variable.spellings)

# The first versions of autorthanc named these otherwise. A forgotten one would publish into a default folder unnoticed.
FORMER_NAMES: dict[str, str] = {
    "AUTOMATION_DATA_STORAGE": "ORTHANC_AUTOMATION_STORAGE_PATH",
    "GROUPID": "GID",
    "ORTHANC_AUTO": "ORTHANC_AUTOMATION_JSON_SCRIPTS_PATH",
    "ORTHANC_DB_MNT": "ORTAHNC_DB_STORAGE_PATH",
    "USERID": "UID",
}
