"""The peers that are measured, and what their folders pin."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from benchmarks.peers import environments
from benchmarks.peers.catalogue import PEERS, Peer

NAMES = {"python": "requirements.txt", "node": "package.json", "go": "go.mod"}
EXACT = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*")


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_has_a_program_and_pins_what_it_needs(peer: Peer) -> None:
    folder = environments.HERE / peer.folder
    pins = (folder / NAMES[peer.language]).read_text()
    if peer.language == "python":
        assert (folder / "peer.py").is_file()
        lines = pins.splitlines()
        assert [line for line in lines if not EXACT.fullmatch(line)] == []
    elif peer.language == "node":
        assert (folder / "peer.mjs").is_file()
        versions = json.loads(pins)["dependencies"].values()
        assert [text for text in versions if not re.fullmatch(r"[0-9.]+", text)] == []
    else:
        assert (folder / "main.go").is_file()
        assert re.search(r"^require \S+ v[0-9.]+$", pins, re.MULTILINE)


def test_no_two_peers_have_one_name() -> None:
    assert len({peer.name for peer in PEERS}) == len(PEERS)


def test_every_folder_of_a_peer_is_measured() -> None:
    folders = {path.name for path in environments.HERE.iterdir() if (path / "peer.py").is_file()}
    assert folders | {"bullmq", "asynq"} == {peer.folder for peer in PEERS}


def test_a_variant_is_the_programs_last_argument() -> None:
    peer = next(peer for peer in PEERS if peer.name == "taskiq-results")
    call = environments.command(peer, "worker", "redis://x", 7)
    assert call[2:] == ["worker", "redis://x", "7", "results"]
    plain = environments.command(replace(peer, variant=""), "worker", "redis://x", 7)
    assert plain == call[:-1]


def test_what_cannot_be_installed_says_why() -> None:
    with pytest.raises(environments.NotInstalled, match="no-such-program is not in the path"):
        environments.said(["no-such-program"], environments.HERE)
    with pytest.raises(environments.NotInstalled, match="no such luck"):
        environments.said(["sh", "-c", "echo no such luck >&2; exit 3"], environments.HERE)
