"""A diagnosis under way: whom to call, with which files, how strictly, and what the last call's end means."""

from __future__ import annotations

import ssl
from dataclasses import replace

from mtlslab import refusals
from mtlslab.contexts import TLSVersion
from mtlslab.diagnosis.calls import Call, call
from mtlslab.diagnosis.files import Files
from mtlslab.diagnosis.protocols import HTTP2_PREFACE
from mtlslab.diagnosis.reply import Reply
from mtlslab.diagnosis.target import Target
from mtlslab.exchanges import Answer
from mtlslab.refusals import Refusal

LISTEN = 0.15
"""How long to listen before speaking, in seconds: a refusal, tickets or a greeting come within a round trip."""
SHORT = 1.0
"""How long a call may take that only confirms a suspicion."""
WEB = ("h2", "http/1.1")


class Inquiry:
    """Makes the calls of one diagnosis.

    Fields: `strict`, whether to verify the server as strictly as Python 3.13 does; `reply`, what the last call's
    request got; `answer`, what became of the request; `reached`, whether TLS came back; `blames_client` and
    `accepts_client`, whether the server said no to this client, or let it in.
    """

    def __init__(self, target: Target, files: Files, tls_max: TLSVersion | None, timeout: float) -> None:
        self.target, self.files, self.tls_max, self.timeout = target, files, tls_max, timeout
        self.strict = True
        self.answer = Answer()
        self.blames_client = self.accepts_client = self.reached = False
        self.reply = Reply(target)
        self._contexts: dict[tuple[object, ...], ssl.SSLContext] = {}

    def call(
        self,
        *,
        say: bytes | None = None,
        offer: tuple[str, ...] = WEB,
        show: bool = True,
        listen: float | None = None,
        timeout: float | None = None,
        **other: str | None,
    ) -> Call:
        """Make one connection, and `say` a request unless it is something else; `other` are changes to the target.

        `listen` is LISTEN unless it is given.
        """
        target = replace(self.target, **other) if other else self.target  # type: ignore[arg-type]
        self.reply = Reply(target)

        def words(alpn: str | None) -> bytes:
            if say is not None or not target.speaks_http:
                return say or b""
            return HTTP2_PREFACE if alpn == "h2" else self.reply.request

        enough = self.reply.enough if say is None else bool
        context = self.context(offer, show=show)
        listen = LISTEN if listen is None else listen
        return call(target, context, timeout=timeout or self.timeout, listen=listen, say=words, enough=enough)

    def resume(self, seen: Call) -> Call:
        """Call again with the session of an earlier call, whose context it was made with."""
        if seen.context is None:
            raise LookupError("a session is resumed with the context that it was made with")
        return call(self.target, seen.context, timeout=SHORT, listen=0, session=seen.session)

    def context(self, offer: tuple[str, ...] = WEB, *, show: bool = True) -> ssl.SSLContext:
        """Make the context of a call, if it has not been made yet: it verifies the server, in every case."""
        kind = (offer, show, self.strict)
        if kind not in self._contexts:
            context = self.files.context(self.tls_max, strict=self.strict, show=show)
            context.post_handshake_auth = True  # as curl and browsers: that a server asks later then shows
            if offer and self.target.speaks_http:
                context.set_alpn_protocols(list(offer))
            self._contexts[kind] = context
        return self._contexts[kind]

    def refusal(self, seen: Call) -> Refusal:
        """Put what ended a call into the vocabulary of refusals."""
        in_handshake = seen.moment not in ("listening", "answering")
        refusal = refusals.refusal(
            seen.error or ConnectionError("the server closed the connection"),
            seen_by="client",
            tls_version="TLSv1.2" if in_handshake else seen.version,
            sent_certificate=self.files.leaf is not None,
            in_handshake=in_handshake,
            asked=seen.asks,
            alerts=seen.alerts,
        )
        self.answer = Answer(refusal=refusal)
        return refusal
