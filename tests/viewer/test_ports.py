from __future__ import annotations

import socket

import pytest

from depthrf.errors import DepthrfError
from depthrf.viewer.server import free_port


def test_a_port_that_is_taken_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < free_port("127.0.0.1", port) <= port + 100


def test_a_host_that_is_not_this_machine_is_told() -> None:
    with pytest.raises(DepthrfError, match="Cannot listen at 192"):
        free_port("192.0.2.1", 8080)
    with pytest.raises(DepthrfError, match="not an address"):
        free_port("no.such.host.invalid", 8080)
