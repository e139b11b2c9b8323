"""The checkers of *Your turn*, a file for each notebook.

A checker takes the reader's answer and says "Not attempted yet", "Not yet: <a hint>" or "Correct: <why>". It
never raises, whatever it is given.
"""

from mtlslab.notebook.exercises.judges import CHECKERS, Feedback
from mtlslab.notebook.exercises.page_00 import bag_for_alice, refused_by_the_client
from mtlslab.notebook.exercises.page_01 import certificate_off_the_wire, pem_by_hand, proof_of_the_key
from mtlslab.notebook.exercises.page_02 import root_on_a_short_lead, tells_roots
from mtlslab.notebook.exercises.page_03 import front_desk, steal_a_public_key
from mtlslab.notebook.exercises.page_04 import asks_to_be_a_ca, both_roles, failing_checks, mystery_certificates
from mtlslab.notebook.exercises.page_05 import authorizing_app, insisting_context, lets_go
from mtlslab.notebook.exercises.page_06 import VAULT_TEXT, both_at_fault, open_vault, vault, who_refused
from mtlslab.notebook.exercises.page_07 import no_certificate_crossed, opens_records, verifies_client
from mtlslab.notebook.exercises.page_08 import (
    PUZZLES,
    broken,
    fresh_list,
    mystery,
    named_faults,
    repaired_chain,
    repaired_purpose,
)
from mtlslab.notebook.exercises.page_09 import client_by_openssl, two_minds
from mtlslab.notebook.exercises.page_12 import renewing_pool, six_steps, surviving_reload

__all__ = [
    "CHECKERS",
    "PUZZLES",
    "VAULT_TEXT",
    "Feedback",
    "asks_to_be_a_ca",
    "authorizing_app",
    "bag_for_alice",
    "both_at_fault",
    "both_roles",
    "broken",
    "certificate_off_the_wire",
    "client_by_openssl",
    "failing_checks",
    "fresh_list",
    "front_desk",
    "insisting_context",
    "lets_go",
    "mystery",
    "mystery_certificates",
    "named_faults",
    "no_certificate_crossed",
    "open_vault",
    "opens_records",
    "pem_by_hand",
    "proof_of_the_key",
    "refused_by_the_client",
    "renewing_pool",
    "repaired_chain",
    "repaired_purpose",
    "root_on_a_short_lead",
    "six_steps",
    "steal_a_public_key",
    "surviving_reload",
    "tells_roots",
    "two_minds",
    "vault",
    "verifies_client",
    "who_refused",
]
