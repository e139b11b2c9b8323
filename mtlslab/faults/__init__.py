"""One fault, one name: broken credentials and settings, minted on demand, each with the verdict it must get.

A fault is a working pair of ends (`Setup`) with one thing changed. `FAULTS` is the table: its rows are what the
gallery of notebook 08 shows, what the tests hold against real connections, and what `mtlslab.diagnose` knows.

    with faults.stage("expired-client", folder) as case:
        answer = case.request()
        case.server.visits[-1].refusal
"""

from mtlslab.faults.gallery import gallery, index_of_messages
from mtlslab.faults.minting import altered, signed_with_sha1, version_1
from mtlslab.faults.setup import Lab, Setup
from mtlslab.faults.staging import Case, running, stage, staged, write_files
from mtlslab.faults.table import FAULTS
from mtlslab.faults.verdicts import ACCEPTED, Family, Fault, Verdict
from mtlslab.handshake.der import key_that_claims

__all__ = [
    "ACCEPTED",
    "FAULTS",
    "Case",
    "Family",
    "Fault",
    "Lab",
    "Setup",
    "Verdict",
    "altered",
    "gallery",
    "index_of_messages",
    "key_that_claims",
    "running",
    "signed_with_sha1",
    "stage",
    "staged",
    "version_1",
    "write_files",
]
