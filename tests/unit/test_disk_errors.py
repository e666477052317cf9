"""What an error of the operating system means."""

import errno

import pytest

from autorthanc_spool.core import disk_errors
from autorthanc_spool.core.disk_errors import Meaning

AWAY = (
    "EIO", "ENODEV", "ENOTCONN", "EBADFD", "EREMOTEIO", "ECOMM", "ESHUTDOWN", "EHOSTDOWN", "EHOSTUNREACH", "ETIMEDOUT",
    "ECONNABORTED", "ENOLCK",
)  # fmt: skip


@pytest.mark.parametrize("name", ["ESTALE", *AWAY])
def test_each_error_of_a_shared_file_system_has_a_meaning(name: str) -> None:
    number = getattr(errno, name)
    assert disk_errors.meaning(number) is (Meaning.GONE if name == "ESTALE" else Meaning.AWAY)
    assert disk_errors.sentence(number)


@pytest.mark.parametrize("name", ["EBADF", "EINVAL", "EEXIST", "ENXIO", "ENOTEMPTY"])
def test_what_is_not_a_trouble_of_a_disk_has_no_meaning(name: str) -> None:
    number = getattr(errno, name)
    assert disk_errors.meaning(number) is None
    assert disk_errors.sentence(number) is None


def test_an_error_without_a_number_has_no_meaning() -> None:
    assert disk_errors.meaning(None) is None
