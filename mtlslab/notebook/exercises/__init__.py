"""The checkers of *Your turn*, a file for each notebook.

A checker takes the reader's answer and says "Not attempted yet", "Not yet: <a hint>" or "Correct: <why>". It
never raises, whatever it is given.
"""

from mtlslab.notebook.exercises.judges import CHECKERS, Feedback
from mtlslab.notebook.exercises.page_00 import bag_for_alice, refused_by_the_client
from mtlslab.notebook.exercises.page_01 import CHALLENGE, pem_by_hand, proof_of_the_key, wire_of_tls12
from mtlslab.notebook.exercises.page_02 import locked_key, root_on_a_short_lead, tells_roots
from mtlslab.notebook.exercises.page_03 import csr_of_a_service, kinds_of_names, steal_a_public_key
from mtlslab.notebook.exercises.page_04 import asks_to_be_a_ca, both_roles, failing_checks, mystery_certificates
from mtlslab.notebook.exercises.page_05 import authorizing_app, from_node, insisting_context
from mtlslab.notebook.exercises.page_06 import VAULT_TEXT, both_at_fault, open_vault, too_early, vault
from mtlslab.notebook.exercises.page_07 import message_that_proves, no_certificate_crossed, record_number
from mtlslab.notebook.exercises.page_08 import PUZZLES, broken, repaired_chain, repaired_key, repaired_purpose
from mtlslab.notebook.exercises.page_09 import alert_numbers, client_by_openssl, who_accepts_it
from mtlslab.notebook.exercises.page_10 import four_doors, guards_the_reports, mended_door, reads_the_caller

__all__ = [
    "CHALLENGE",
    "CHECKERS",
    "PUZZLES",
    "VAULT_TEXT",
    "Feedback",
    "alert_numbers",
    "asks_to_be_a_ca",
    "authorizing_app",
    "bag_for_alice",
    "both_at_fault",
    "both_roles",
    "broken",
    "client_by_openssl",
    "csr_of_a_service",
    "failing_checks",
    "four_doors",
    "from_node",
    "guards_the_reports",
    "insisting_context",
    "kinds_of_names",
    "locked_key",
    "mended_door",
    "message_that_proves",
    "mystery_certificates",
    "no_certificate_crossed",
    "open_vault",
    "pem_by_hand",
    "proof_of_the_key",
    "reads_the_caller",
    "record_number",
    "refused_by_the_client",
    "repaired_chain",
    "repaired_key",
    "repaired_purpose",
    "root_on_a_short_lead",
    "steal_a_public_key",
    "tells_roots",
    "too_early",
    "vault",
    "who_accepts_it",
    "wire_of_tls12",
]
