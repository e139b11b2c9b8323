"""Other people's proxies, started with a configuration from the page, and an application behind them.

A configuration is a text in which `@PORT@` stands for the proxy's own port, a free one, and `@APP@` for the address of
what it passes requests on to. Files in it are those of the folder that it runs in.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mtlslab import failures
from mtlslab.notebook import programs, servers
from mtlslab.notebook.programs import Running, free_port, serving

PACKAGES = 'pip install -e ".[servers]"'


@dataclass(frozen=True)
class Proxy:
    """A proxy that the page runs.

    Fields: `wanted`, in words; `arguments`, with `{path}` for its configuration's file, that run it, and `check` those
    that have it say what is wrong with that file; `version`, the argument that makes it tell its version, and
    `pattern`, what must be found there; `install`, how to get it.
    """

    wanted: str
    arguments: str
    check: str
    version: str
    pattern: str
    install: str


PROXIES: dict[str, Proxy] = {
    "caddy": Proxy(
        "Caddy 2.10 or newer",
        "run --adapter caddyfile --config {path}",
        "validate --adapter caddyfile --config {path}",
        "version",
        r"^v(?:2\.[1-9]\d|[3-9])",
        PACKAGES,
    ),
    "nginx": Proxy(
        "nginx 1.20 or newer",
        "-p . -e stderr -c {path}",
        "-t -p . -e stderr -c {path}",
        "-v",
        r"nginx/(?:1\.[2-9]\d|[2-9])",
        "sudo apt install nginx",
    ),
    "haproxy": Proxy(
        "HAProxy 2.6 or newer",
        "-db -f {path}",
        "-c -f {path}",
        "-v",
        r"version (?:2\.[6-9]|[3-9])",
        "sudo apt install haproxy",
    ),
}
"""The proxies of notebook 11, by name. Debian keeps the last two in /usr/sbin, which is not on everybody's PATH."""


def missing(name: str) -> failures.ProgramMissing | None:
    """Return what is missing to run a proxy and an application behind it, with its cure; None if nothing is."""
    try:
        _find(name)
    except failures.ProgramMissing as error:
        return error
    return next(iter(servers.missing("hypercorn")), None)


def _find(name: str) -> Path:
    proxy = PROXIES[name]
    try:
        path = programs.find(name)
    except failures.ProgramMissing as error:
        path = Path("/usr/sbin") / name
        if not os.access(path, os.X_OK):
            raise failures.ProgramMissing(name, error.problem, f"install it: {proxy.install}") from None
    said = _version(path, proxy.version)
    if not re.search(proxy.pattern, said, re.MULTILINE):
        first = next(iter(said.splitlines()), "nothing")
        raise failures.ProgramMissing(name, f"it says {first!r}", f"this page needs {proxy.wanted}: {proxy.install}")
    return path


@lru_cache
def _version(path: Path, argument: str) -> str:
    return programs.run(f"'{path.as_posix()}' {argument}", path.parent).output


@contextmanager
def running(name: str, configuration: str, folder: str | os.PathLike[str], app: str) -> Iterator[Running]:
    """Run a proxy on a free port of the loopback, in `folder`, while the block lasts.

    `app` is where it passes requests on to, as its configuration writes it. Raises `errors.ProgramMissing`, and
    `errors.ProgramFailed` with the proxy's own words where it dies at its start.
    """
    path, port = _find(name), free_port()
    file = Path(folder) / f"{name}-{port}.conf"
    file.write_text(configuration.replace("@PORT@", str(port)).replace("@APP@", app), encoding="utf-8")
    program = f"'{path.as_posix()}'"
    try:
        with serving(f"{program} {PROXIES[name].arguments.format(path=file.name)}", folder, port=port) as proxy:
            try:
                yield proxy
            finally:  # asked to end, Caddy waits for connections, some for seconds; there is nothing to lose
                with suppress(OSError):
                    os.kill(proxy.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    except failures.ProgramFailed as error:
        # Caddy 2.11 does not always say what it has against a configuration when it runs it.
        said = programs.run(f"{program} {PROXIES[name].check.format(path=file.name)}", folder).output
        raise failures.ProgramFailed(error.command, error.exit_code, f"{error.stderr}\n{said}") from None
    finally:
        file.unlink()


NGINX = """\
daemon off;
master_process off;
pid nginx.pid;
events {}
http {
  access_log off;
  client_body_temp_path nginx;
  proxy_temp_path nginx;
  fastcgi_temp_path nginx;
  uwsgi_temp_path nginx;
  scgi_temp_path nginx;
  server {
    listen 127.0.0.1:@PORT@ ssl;
    ssl_certificate server.crt;
    ssl_certificate_key server.key;
    ssl_client_certificate ca.crt;
    ssl_verify_client on;
    proxy_set_header Client-Cert $ssl_client_escaped_cert;
    proxy_set_header Client-Cert-Chain "";
    location / {
      proxy_pass http://@APP@;
    }
  }
}
"""
"""A right configuration of nginx, in nginx's own form, which `client_cert.decode_nginx` reads."""

HAPROXY = """\
global
  log stderr format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 10s
  timeout server 10s
frontend callers
  bind 127.0.0.1:@PORT@ ssl crt server.pem ca-file ca.crt verify required
  option http-restrict-req-hdr-names delete
  http-request del-header client-cert -m beg
  http-request del-header upgrade
  http-request set-header Client-Cert :%[ssl_c_der,base64]:
  default_backend apps
backend apps
  server app @APP@
"""
"""A right configuration of HAProxy, in RFC 9440's form. server.pem holds the server's certificate and its key."""


# --- the application behind it --------------------------------------------------------------------

Scope = MutableMapping[str, Any]
ASGIApp = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


@contextmanager
def behind(app: ASGIApp) -> Iterator[str]:
    """Serve an ASGI application over plain HTTP while the block lasts, with hypercorn. Yields its 127.0.0.1:PORT.

    Raises what `servers.hypercorn` raises.
    """
    with servers.hypercorn(app) as url:
        yield f"127.0.0.1:{url.rpartition(':')[2]}"
