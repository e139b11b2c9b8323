"""Keys, names, CSRs, and the files of a credential: what is refused, and that nothing is lost or leaked."""

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from interruptions import save_until, write
from mtlslab import CertificateAuthority, Credential, errors, new_csr, new_private_key
from mtlslab.credentials import certificate_pem, private_key_pem, read_certificates, read_credential, read_private_key
from mtlslab.profiles import CLIENT, SERVER

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
PKCS8 = serialization.PrivateFormat.PKCS8


# --- keys and names -------------------------------------------------------------------------------


def test_the_three_kinds_of_keys() -> None:
    """Each word makes the key that it names; the default is P-256."""
    default, rsa_key, ed25519_key = new_private_key(), new_private_key("rsa-2048"), new_private_key("ed25519")
    assert isinstance(default, ec.EllipticCurvePrivateKey)
    assert default.curve.name == "secp256r1"
    assert isinstance(rsa_key, rsa.RSAPrivateKey)
    assert (rsa_key.key_size, rsa_key.public_key().public_numbers().e) == (2048, 65537)
    assert isinstance(ed25519_key, ed25519.Ed25519PrivateKey)


def test_other_kinds_of_keys_are_refused() -> None:
    """Any other word is refused, with the three that are known."""
    word: Any
    for word in ("rsa-1024", "ec", "", "EC-P256", None):
        with pytest.raises(errors.KeyTypeRefused, match="ec-p256, rsa-2048, ed25519"):
            new_private_key(word)


def test_common_names_that_are_fine() -> None:
    """A common name is any text of 1 to 64 characters that can be printed and can name a file."""
    for name in ("a", "a" * 64, "example-ca", "Jürgen", "クライアント", "O'Neil & Co. <x>", "*", "a.b c"):
        csr = new_csr(new_private_key(), name)
        assert [attribute.value for attribute in csr.subject] == [name]


def why_refused(use: Callable[[], object], name: object) -> str:
    """Return the words by which a name was refused; where it was taken, say so."""
    try:
        use()
    except errors.NameRefused as refused:
        return str(refused) if refused.name == name else f"it speaks of {refused.name!r}"
    return "it was taken"


BAD_COMMON_NAMES: list[tuple[Any, str]] = [
    ("", "empty"),
    ("a" * 65, "65 characters"),
    ("名" * 30, "90 bytes"),
    ("a\nb", "control character"),
    ("a\0b", "control character"),
    ("a\x7f", "control character"),
    ("a\x85b", "control character"),
    ("txt.\u202eexe", "control character"),
    ("half \ud800", "surrogate"),
    ("ali\u200bce", "cannot be seen"),
    ("alice\ufeff", "cannot be seen"),
    ("ali\u00adce", "cannot be seen"),
    ("\u3164", "cannot be seen"),
    ("alice\ufe0f", "cannot be seen"),
    ("alice\u00a0x", "cannot be seen"),
    ("alice\U000e0041", "cannot be seen"),
    ("a/b", "slash"),
    ("..\\b", "slash"),
    (" a", "space"),
    ("a ", "space"),
    (None, "text"),
    (7, "text"),
    (b"client", "text"),
]


def test_common_names_that_are_refused(tmp_path: Path, client_credential: Credential) -> None:
    """Each bad name is refused with the rule that it breaks, for a subject, a CA and a file alike."""
    key = new_private_key()
    uses: list[Callable[[Any], object]] = [
        lambda name: new_csr(key, name),
        CertificateAuthority.create,
        lambda name: client_credential.save(tmp_path, name),
        lambda name: Credential.load(tmp_path, name),
    ]
    for name, rule in BAD_COMMON_NAMES:
        said = [why_refused(partial(use, name), name) for use in uses]
        assert [rule in words for words in said] == [True] * len(uses), (name, said)
    assert not list(tmp_path.iterdir())


def test_file_names_that_are_refused(tmp_path: Path, client_credential: Credential) -> None:
    """A name that is hidden, or that some system cannot write, is no name for a file."""
    names = ["..", ".client", "a:b", "a*", "a?", "con|x", '"a"', "<a>", "CON", "nul", "com1", "LPT9.x", "aux.", "com¹"]
    said = {name: why_refused(partial(client_credential.save, tmp_path, name), name) for name in names}
    assert {name: words for name, words in said.items() if "file name" not in words} == {}


GOOD_NAMES: list[tuple[str, x509.GeneralName]] = [
    ("localhost", x509.DNSName("localhost")),
    ("a-1.example.com", x509.DNSName("a-1.example.com")),
    ("*.example.com", x509.DNSName("*.example.com")),
    ("xn--bcher-kva.example", x509.DNSName("xn--bcher-kva.example")),
    ("3com.com", x509.DNSName("3com.com")),
    (".".join(["a" * 63] * 3 + ["b" * 61]), x509.DNSName(".".join(["a" * 63] * 3 + ["b" * 61]))),
    ("127.0.0.1", x509.IPAddress(ip_address("127.0.0.1"))),
    ("::1", x509.IPAddress(ip_address("::1"))),
    ("spiffe://example.org/client", x509.UniformResourceIdentifier("spiffe://example.org/client")),
    ("urn:uuid:1234", x509.UniformResourceIdentifier("urn:uuid:1234")),
    ("https://a@[::1]:443/?b#c%20d", x509.UniformResourceIdentifier("https://a@[::1]:443/?b#c%20d")),
]


def test_alternative_names_are_told_apart() -> None:
    """DNS names, IP addresses and URIs get into the CSR as what they are."""
    key = new_private_key()
    for name, kind in GOOD_NAMES:
        csr = new_csr(key, "localhost", names=[name])
        assert list(csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == [kind], name


BAD_NAMES: list[tuple[Any, str]] = [
    ("", "not empty"),
    (None, "text"),
    ("local host", "letters, digits"),
    ("local_host", "letters, digits"),
    ("-a.example.com", "letters, digits"),
    ("a-.example.com", "letters, digits"),
    ("a..b", "letters, digits"),
    (".example.com", "letters, digits"),
    ("example.com.", "letters, digits"),
    ("a" * 64 + ".com", "letters, digits"),
    (".".join(["a" * 63] * 4), "253"),
    ("example.com/path", "letters, digits"),
    ("bücher.example", "ASCII"),
    ("a\n.example.com", "control character"),
    ("*", "wildcard"),
    ("*.com", "wildcard"),
    ("a.*.com", "wildcard"),
    ("a*.example.com", "wildcard"),
    ("*.*.example.com", "wildcard"),
    ("256.1.1.1", "IP address"),
    ("1.2.3", "IP address"),
    ("127.0.0.1:443", "letters, digits"),
    ("fe80::1%eth0", "letters, digits"),
    ("[::1]", "letters, digits"),
    ("https://", "URI"),
    ("://example.org", "URI"),
    ("http://[::1", "URI"),
    ("spiffe://exämple.org", "URI"),
    ("spiffe://example.org/a b", "URI"),
    ("spiffe://example.org/%zz", "URI"),
    ("https://:443/", "URI"),
    ("https://a@/", "URI"),
    ("urn:", "URI"),
    ("local\u200bhost", "cannot be seen"),
]


def test_alternative_names_that_are_refused() -> None:
    """A name that is none of the three is refused with the rule that it breaks."""
    key = new_private_key()
    for name, rule in BAD_NAMES:
        said = why_refused(partial(new_csr, key, "localhost", names=[name]), name)
        assert rule in said, name


def test_names_is_a_list(ca: CertificateAuthority) -> None:
    """What is no list is refused as such; a single name in its place is not taken apart into letters."""
    names: Any
    for names in ("localhost", b"localhost", None, 7):
        with pytest.raises(errors.NameRefused, match="list"):
            new_csr(new_private_key(), "localhost", names=names)
    with pytest.raises(errors.NameRefused, match="list"):
        ca.issue("localhost", SERVER, names="localhost")


# --- saving ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs(ca: CertificateAuthority) -> list[Credential]:
    """Three credentials of one name."""
    return [ca.issue("client", CLIENT) for _ in range(3)]


def test_a_credential_survives_saving_and_loading(ca: CertificateAuthority, tmp_path: Path) -> None:
    """What is loaded is what was saved: the leaf first, then its chain, and the key as PKCS #8."""
    saved = ca.create_issuing_ca("issuing").issue("client", CLIENT)
    certificate_path, key_path = saved.save(tmp_path / "new" / "folder", "client")
    loaded = Credential.load(tmp_path / "new" / "folder", "client")
    assert (loaded.certificate, loaded.chain) == (saved.certificate, saved.chain)
    assert read_certificates(certificate_path) == [saved.certificate, *saved.chain]
    assert key_path.read_text(encoding="ascii").startswith("-----BEGIN PRIVATE KEY-----\n")


def test_nothing_is_overwritten_silently(pairs: list[Credential], tmp_path: Path) -> None:
    """Where one of the two files exists, neither is written unless overwriting is asked for."""
    for existing in ("client.crt", "client.key"):
        (tmp_path / existing).write_text("precious")
        with pytest.raises(FileExistsError, match="overwrite=True") as refused:
            pairs[0].save(tmp_path, "client")
        assert isinstance(refused.value, errors.FileInTheWay)
        assert refused.value.path == tmp_path / existing
        assert [path.name for path in tmp_path.iterdir()] == [existing]
        assert (tmp_path / existing).read_text() == "precious"
        pairs[0].save(tmp_path, "client", overwrite=True)
        assert Credential.load(tmp_path, "client").certificate == pairs[0].certificate
        for path in tmp_path.iterdir():
            path.unlink()


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_keys_are_for_their_owner_alone(pairs: list[Credential], tmp_path: Path) -> None:
    """A key has mode 0600 whatever the umask, also where it replaces a file that all could read."""
    (tmp_path / "client.key").touch()
    for mask in (0, 0o022, 0o077):
        (tmp_path / "client.key").chmod(0o666)
        with umask(mask):
            certificate, key = pairs[0].save(tmp_path, "client", overwrite=True)
        assert stat.S_IMODE(key.stat().st_mode) == 0o600, oct(mask)
        assert stat.S_IMODE(certificate.stat().st_mode) == 0o644, oct(mask)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_a_key_is_never_readable_by_others(
    pairs: list[Credential], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no moment at which the key's file has another mode than 0600."""
    modes = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    with umask(0):
        pairs[0].save(tmp_path, "client")
    assert modes == [0o600, 0o600]


def test_a_folder_that_cannot_be_written_to_is_named(pairs: list[Credential], tmp_path: Path) -> None:
    """Saving into a file in the place of a folder says so."""
    (tmp_path / "file").touch()
    with pytest.raises(errors.FileUnwritable, match="check that this is a folder") as refused:
        pairs[0].save(tmp_path / "file", "client")
    assert refused.value.path == tmp_path / "file"


def press_control_c() -> None:
    raise KeyboardInterrupt


def test_an_interrupted_save_leaves_the_old_pair_or_the_new(pairs: list[Credential], tmp_path: Path) -> None:
    """Wherever Ctrl-C meets a save, a pair that belongs together is left, and no other file."""
    old, new, _ = pairs
    seen: list[x509.Certificate] = []
    finished = False
    while not finished:
        write(old, tmp_path)
        finished = save_until(len(seen), press_control_c, new, tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["client.crt", "client.key"], len(seen)
        seen.append(Credential.load(tmp_path, "client").certificate)
    assert len(seen) > 20
    assert seen[0] == old.certificate
    assert seen[-1] == new.certificate
    assert set(seen) == {old.certificate, new.certificate}


def test_an_interrupted_first_save_leaves_nothing_or_all(pairs: list[Credential], tmp_path: Path) -> None:
    """Where there was no pair before, an interruption leaves none, or a whole one."""
    left = set()
    finished, lines = False, 0
    while not finished:
        for path in tmp_path.iterdir():
            path.unlink()
        finished = save_until(lines, press_control_c, pairs[0], tmp_path)
        lines += 1
        left.add(tuple(sorted(path.name for path in tmp_path.iterdir())))
    assert left == {(), ("client.crt", "client.key")}
    assert Credential.load(tmp_path, "client").certificate == pairs[0].certificate


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_killed_save_leaves_the_old_pair_or_the_new(pairs: list[Credential], tmp_path: Path) -> None:
    """A process killed at any line of a save, and another killed at any line of the next, leave one of the pairs."""
    for number, credential in enumerate(pairs):
        credential.save(tmp_path, f"pair-{number}")
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", "import interruptions; interruptions.kill_at_every_line()"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(["", *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "after one: new, old; after two: middle, new"


STEPS: list[tuple[Any, str, int]] = [(os, "fsync", 1), (os, "fsync", 2), (os, "open", 1), (os, "open", 2)]
STEPS += [(Path, "chmod", 1), (Path, "mkdir", 1), (Path, "replace", 1), (Path, "replace", 2)]


def failing(real: Callable[..., Any], nth: int, goes_on: bool) -> Callable[..., Any]:
    """Make a step that the system refuses at its n-th call, and that once or from then on."""
    calls = count(1)

    def fail(*arguments: Any, **options: Any) -> Any:
        call = next(calls)
        if call == nth or (goes_on and call > nth):
            raise OSError(28, "No space left on device")
        return real(*arguments, **options)

    return fail


@pytest.mark.parametrize("goes_on", [False, True], ids=["once", "goes on"])
def test_a_full_disk_loses_nothing(
    pairs: list[Credential], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goes_on: bool
) -> None:
    """When the system refuses a step, once or from then on, a pair that belongs together can still be loaded."""
    old, new, last = pairs
    for where, call, nth in STEPS:
        write(old, tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(where, call, failing(getattr(where, call), nth, goes_on))
            with pytest.raises(errors.FileUnwritable, match="No space left on device"):
                new.save(tmp_path, "client", overwrite=True)
        left = Credential.load(tmp_path, "client").certificate
        assert left == old.certificate or (goes_on and left == new.certificate), (call, nth)
        hidden = {path.name for path in tmp_path.iterdir()} - {"client.crt", "client.key"}
        assert hidden == (set() if left == old.certificate else {".client.crt.new"}), (call, nth)
        last.save(tmp_path, "client", overwrite=True)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["client.crt", "client.key"], (call, nth)


# --- saving beside others -------------------------------------------------------------------------


SAVE_AND_LOAD = """
import os, threading, time
from mtlslab.credentials import Credential

os.fsync = lambda _: None  # no power is cut here

made = [Credential.load(".", f"pair-{number}") for number in range(3)]
over = threading.Event()

def save_often():
    try:
        for number in range(30):
            made[number % 3].save("work", "p", overwrite=True)
    finally:
        over.set()

loaded = {Credential.load("work", "p").certificate}
threading.Thread(target=save_often).start()
print("saving", flush=True)
while not over.is_set():
    loaded.add(Credential.load("work", "p").certificate)
    time.sleep(0.0005)
print(loaded <= {one.certificate for one in made}, flush=True)
"""
"""Run beside the test below, in a process of its own."""


def test_many_processes_save_and_load_one_pair(pairs: list[Credential], tmp_path: Path) -> None:
    """While two processes and some of their threads save a pair, both load it: every load gets one that was saved."""
    for number, credential in enumerate(pairs):
        credential.save(tmp_path, f"pair-{number}")
    pairs[0].save(tmp_path / "work", "p")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen([sys.executable, "-c", SAVE_AND_LOAD], cwd=tmp_path, env=environment, **pipes) as other:
        assert other.stdout
        assert other.stdout.readline() == "saving\n"
        savers = [
            threading.Thread(target=lambda: [pairs[1].save(tmp_path / "work", "p", overwrite=True) for _ in range(15)])
            for _ in range(2)
        ]
        for saver in savers:
            saver.start()
        known = {credential.certificate for credential in pairs}
        while other.poll() is None or any(saver.is_alive() for saver in savers):
            assert Credential.load(tmp_path / "work", "p").certificate in known
            time.sleep(0.0005)
        assert other.stdout.read() == "True\n"
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["p.crt", "p.key"]
    Credential.load(tmp_path / "work", "p")


def killed_at(step: str, folder: Path, credential: Credential) -> None:
    """Leave a folder as a process leaves it that is killed right before a step of a save."""
    child = os.fork()
    if child == 0:
        where, call, nth = {
            "write": (os, "fsync", 1),
            "second write": (os, "fsync", 2),
            "rename": (Path, "replace", 1),
            "second rename": (Path, "replace", 2),
        }[step]
        real, calls = getattr(where, call), 0

        def kill(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments)

        setattr(where, call, kill)
        credential.save(folder, "client", overwrite=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("step", ["write", "second write", "rename", "second rename"])
def test_a_killed_save_is_read_without_writing(pairs: list[Credential], tmp_path: Path, step: str) -> None:
    """After a kill a pair can be loaded from a folder that may only be read; the next save leaves no stray key."""
    old, new, last = pairs
    old.save(tmp_path, "client")
    killed_at(step, tmp_path, new)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    tmp_path.chmod(0o500)
    try:
        with without_privileges(tmp_path):
            found = Credential.load(tmp_path, "client").certificate
    finally:
        tmp_path.chmod(0o700)
    assert found == (new if step == "second rename" else old).certificate
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    with pytest.raises(errors.FileInTheWay):
        last.save(tmp_path, "client")
    last.save(tmp_path, "another")
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".key.new")]
    last.save(tmp_path, "client", overwrite=True)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@contextlib.contextmanager
def without_privileges(folder: Path) -> Iterator[None]:
    """Be an ordinary user, who owns the folder, while the block lasts: no mode stops root."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.iterdir()):
        os.chown(path, 65534, -1)
    above = [path for path in folder.parents if not path.stat().st_mode & 1]
    modes = [path.stat().st_mode for path in above]
    for path in above:
        path.chmod(0o711)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for path, mode in zip(above, modes, strict=True):
            path.chmod(mode)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_made_during_a_save_holds_up_nobody(
    pairs: list[Credential], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process forked in the middle of a save inherits its turn, and does not keep it from the next saver."""
    children: list[int] = []
    fsync = os.fsync

    def fork(descriptor: int) -> None:
        if not children and (child := os.fork()):
            children.append(child)
        elif not children:
            signal.pause()
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fork)
        pairs[0].save(tmp_path, "client")
    try:
        saver = threading.Thread(target=lambda: pairs[1].save(tmp_path, "client", overwrite=True), daemon=True)
        saver.start()
        saver.join(20)
        assert not saver.is_alive()
    finally:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)
    assert Credential.load(tmp_path, "client").certificate == pairs[1].certificate


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_a_folder_that_may_only_be_read_is_named(pairs: list[Credential], tmp_path: Path) -> None:
    """A save into a folder that may only be read is refused, and the old pair is there as before."""
    pairs[0].save(tmp_path, "client")
    tmp_path.chmod(0o500)
    try:
        with without_privileges(tmp_path), pytest.raises(errors.FileUnwritable, match="Permission denied"):
            pairs[1].save(tmp_path, "client", overwrite=True)
    finally:
        tmp_path.chmod(0o700)
    assert Credential.load(tmp_path, "client").certificate == pairs[0].certificate


@pytest.mark.skipif(os.name == "nt", reason="few may make symbolic links on Windows")
@pytest.mark.parametrize("target", ["elsewhere", "missing", "folder"])
def test_a_link_is_replaced_and_not_followed(pairs: list[Credential], tmp_path: Path, target: str) -> None:
    """A link in the way, dangling or not, counts as a file; with overwrite=True it is replaced, its target kept."""
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "folder").mkdir()
    for suffix in ("crt", "key"):
        (tmp_path / f"client.{suffix}").symlink_to(target)
        (tmp_path / f".client.{suffix}.new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.FileInTheWay):
        pairs[0].save(tmp_path, "client")
    if target == "folder":
        (tmp_path / "client.key").unlink()
    pairs[0].save(tmp_path, "client", overwrite=True)
    assert Credential.load(tmp_path, "client").certificate == pairs[0].certificate
    assert (tmp_path / "elsewhere").read_text() == "precious"
    assert not (tmp_path / "missing").exists()


def test_a_folder_in_the_place_of_a_file_stays(pairs: list[Credential], tmp_path: Path) -> None:
    """A folder of the file's name is never replaced, and neither is the other file."""
    for name in ("client.crt", "client.key"):
        (tmp_path / name).mkdir()
        with pytest.raises(errors.FileInTheWay, match="it is no file"):
            pairs[0].save(tmp_path, "client", overwrite=True)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).rmdir()


def test_an_odd_folder_is_an_error_of_ours(pairs: list[Credential], tmp_path: Path) -> None:
    """What can be no folder is refused, by save and load alike."""
    where: Any
    for where in (tmp_path / "nul\0", tmp_path / ("x" * 300), None, 7, b"bytes"):
        with pytest.raises(errors.MtlslabError):
            pairs[0].save(where, "client")
        with pytest.raises(errors.MtlslabError):
            Credential.load(where, "client")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_disk_that_is_full_keeps_the_old_pair(pairs: list[Credential], tmp_path: Path) -> None:
    """Where the system takes no more than so many bytes of a file, the old pair stays, and no other file."""
    import resource

    pairs[0].save(tmp_path, "client")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 100, 300):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            with pytest.raises(errors.FileUnwritable, match="large"):
                pairs[1].save(tmp_path, "client", overwrite=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert Credential.load(tmp_path, "client").certificate == pairs[0].certificate, room
        assert sorted(path.name for path in tmp_path.iterdir()) == ["client.crt", "client.key"], room


# --- loading --------------------------------------------------------------------------------------


class Bad(NamedTuple):
    """A bad file: which of the pair, its bytes (None: no file), the exception, and words of its message."""

    file: str
    data: Callable[[Credential], bytes | None]
    error: type[errors.FileRefused]
    says: str


def crt(credential: Credential) -> bytes:
    return certificate_pem(credential.certificate)


def key(credential: Credential) -> bytes:
    return private_key_pem(credential.private_key)


def csr(credential: Credential) -> bytes:
    return new_csr(credential.private_key, "client").public_bytes(PEM)


def encrypted(credential: Credential) -> bytes:
    return credential.private_key.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"correct horse"))


def x25519_key(_: Credential) -> bytes:
    return x25519.X25519PrivateKey.generate().private_bytes(PEM, PKCS8, serialization.NoEncryption())


def pkcs12_file(credential: Credential) -> bytes:
    no_password = serialization.NoEncryption()
    assert not isinstance(credential.private_key, ed25519.Ed25519PrivateKey)
    return pkcs12.serialize_key_and_certificates(
        b"client", credential.private_key, credential.certificate, None, no_password
    )


Missing, Contents = errors.FileMissing, errors.FileContents
BAD_FILES = {
    "no certificate": Bad("client.crt", lambda _: None, Missing, "no such certificate file; check the path"),
    "no key": Bad("client.key", lambda _: None, Missing, "no such private key file; check the path"),
    "empty certificate": Bad("client.crt", lambda _: b"", Contents, "empty"),
    "empty key": Bad("client.key", lambda _: b" \n", Contents, "empty"),
    "PKCS#12": Bad("client.crt", pkcs12_file, Contents, "openssl pkcs12 -in"),
    "DER certificate": Bad(
        "client.crt", lambda c: c.certificate.public_bytes(DER), Contents, "openssl x509 -inform DER"
    ),
    "DER key": Bad(
        "client.key",
        lambda c: c.private_key.private_bytes(DER, PKCS8, serialization.NoEncryption()),
        Contents,
        "openssl pkey -inform DER",
    ),
    "key for certificate": Bad("client.crt", key, Contents, "a private key where a certificate is meant; swap"),
    "certificate for key": Bad("client.key", crt, Contents, "a certificate where a private key is meant; name the"),
    "CSR for certificate": Bad("client.crt", csr, Contents, "a CSR where a certificate is meant; have a CA sign"),
    "CSR for key": Bad("client.key", csr, Contents, "a CSR where a private key is meant"),
    "text": Bad("client.crt", lambda _: b"hello", Contents, "-----BEGIN CERTIFICATE-----"),
    "UTF-16": Bad("client.key", lambda c: key(c).decode().encode("utf-16"), Contents, "no PEM block"),
    "certificate cut short": Bad("client.crt", lambda c: crt(c)[:200], Contents, "cut short"),
    "key cut short": Bad("client.key", lambda c: key(c)[:120], Contents, "cut short"),
    "key with a hole": Bad("client.key", lambda c: key(c)[:60] + key(c)[80:], Contents, "cut short or damaged"),
    "second certificate cut short": Bad("client.crt", lambda c: crt(c) + crt(c)[:200], Contents, "cut short"),
    "key without its password": Bad("client.key", encrypted, Contents, "encrypted; give its password"),
    "key of another kind": Bad("client.key", x25519_key, Contents, "use an EC, RSA or Ed25519 key"),
}


def everything_said(error: BaseException | None) -> Iterator[str]:
    """Walk through all that an exception and those behind it may show."""
    while error is not None:
        yield from (str(error), repr(error), *map(repr, (error.args, vars(error), getattr(error, "__notes__", []))))
        yield from traceback.format_exception(error)
        error = error.__cause__ or error.__context__


def assert_no_key(error: BaseException, pem: bytes) -> None:
    """Check that no part of a key's PEM lines is shown."""
    said = "\n".join(everything_said(error))
    for line in pem.decode().splitlines():
        if line and not line.startswith("-----"):
            assert not any(line[start : start + 12] in said for start in range(0, max(len(line) - 12, 1), 6))


def test_a_bad_file_is_named_with_its_cure(pairs: list[Credential], tmp_path: Path) -> None:
    """Loading says which file is wrong, how, and what to do, and never shows a part of the key."""
    for fault, bad in BAD_FILES.items():
        write(pairs[0], tmp_path)
        data = bad.data(pairs[0])
        (tmp_path / bad.file).unlink()
        if data is not None:
            (tmp_path / bad.file).write_bytes(data)
        with pytest.raises(bad.error) as refused:
            Credential.load(tmp_path, "client")
        assert refused.value.path == tmp_path / bad.file, fault
        assert str(tmp_path / bad.file) in str(refused.value), fault
        assert bad.says in str(refused.value), fault
        assert_no_key(refused.value, key(pairs[0]))
        if data is not None and b"PRIVATE KEY" in data:
            assert_no_key(refused.value, data)


def test_a_key_of_another_certificate_is_refused(pairs: list[Credential], tmp_path: Path) -> None:
    """Files that do not belong together are named, both of them."""
    write(pairs[0], tmp_path)
    (tmp_path / "client.key").write_bytes(key(pairs[1]))
    with pytest.raises(errors.KeyMismatch, match=r"client\.key does not belong to .*client\.crt; use") as refused:
        Credential.load(tmp_path, "client")
    assert_no_key(refused.value, key(pairs[1]))


def test_a_wrong_password_is_no_mystery(pairs: list[Credential], tmp_path: Path) -> None:
    """An encrypted key opens with its own password only, and the error shows no password."""
    write(pairs[0], tmp_path)
    (tmp_path / "client.key").write_bytes(encrypted(pairs[0]))
    assert Credential.load(tmp_path, "client", password="correct horse").certificate == pairs[0].certificate
    for password in ("hunter2", "", None):
        with pytest.raises(errors.FileContents, match="password") as refused:
            Credential.load(tmp_path, "client", password=password)
        assert not password or password not in str(refused.value)


def test_a_password_too_many_does_no_harm(pairs: list[Credential], tmp_path: Path) -> None:
    """A password for a key that has none is not needed, as with curl."""
    write(pairs[0], tmp_path)
    assert Credential.load(tmp_path, "client", password="any").certificate == pairs[0].certificate


def test_nobody_is_asked_for_a_password(pairs: list[Credential], tmp_path: Path) -> None:
    """An encrypted key without its password is an error at once, for a notebook has no prompt to answer."""
    write(pairs[0], tmp_path)
    (tmp_path / "client.key").write_bytes(encrypted(pairs[0]))
    code = "from mtlslab.contexts import client_context; client_context(**files)"
    code = f"files = dict(cacert='client.crt', cert='client.crt', key='client.key')\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(["", *filter(None, sys.path)])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        start_new_session=True,
    )
    assert done.stdout == ""
    assert "pass phrase" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "mtlslab.errors.FileContents: client.key: the private key is encrypted"
    )


def test_a_password_is_text(pairs: list[Credential], tmp_path: Path) -> None:
    """A password that is no text is refused, and not shown."""
    pairs[0].save(tmp_path, "client")
    password: Any
    for password in (b"bytes", 7, "half \ud800"):
        with pytest.raises(errors.OptionRefused, match=r"^password: it is not text that can be written in UTF-8$"):
            Credential.load(tmp_path, "client", password=password)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_a_file_without_an_end_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe or a device in the place of a file is refused at once, as is a file of an absurd size."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(errors.FileUnreadable, match="a folder, or a device"):
            read_certificates(path)
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(errors.FileContents, match="no PEM block"):
        read_private_key(tmp_path / "huge")


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl on the PATH")
@pytest.mark.parametrize("kind", ["EC -pkeyopt ec_paramgen_curve:secp224k1", "SM2"])
def test_a_good_key_of_another_kind_is_not_called_damaged(ca: CertificateAuthority, tmp_path: Path, kind: str) -> None:
    """A pair that cryptography knows no name for is refused for its kind, and a good key beside it for not matching."""
    for command in (
        f"openssl genpkey -algorithm {kind} -out client.key",
        "openssl req -x509 -new -key client.key -subj /CN=x -days 9 -out client.crt",
    ):
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    with pytest.raises(errors.FileContents, match="this kind of key does not sign TLS handshakes") as refused:
        Credential.load(tmp_path, "client")
    assert refused.value.path == tmp_path / "client.key"
    (tmp_path / "client.key").write_bytes(private_key_pem(ca.private_key))
    with pytest.raises(errors.KeyMismatch):
        Credential.load(tmp_path, "client")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A folder where a file is meant cannot be read, and is named."""
    (tmp_path / "client.crt").mkdir()
    with pytest.raises(errors.FileUnreadable, match="check that it is a file") as refused:
        Credential.load(tmp_path, "client")
    assert refused.value.path == tmp_path / "client.crt"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_an_unreadable_file_is_named(pairs: list[Credential], tmp_path: Path) -> None:
    """A file whose mode forbids reading it is named, with what to check."""
    write(pairs[0], tmp_path)
    (tmp_path / "client.crt").chmod(0)
    root = os.geteuid() == 0
    try:
        if root:  # whom no mode stops
            os.seteuid(65534)
        with pytest.raises(errors.FileUnreadable, match=r"Permission denied.*mode") as refused:
            read_certificates(tmp_path / "client.crt")
    finally:
        if root:
            os.seteuid(0)
    assert isinstance(refused.value, PermissionError)


def test_a_combined_file_is_read_in_either_order(pairs: list[Credential], tmp_path: Path) -> None:
    """One PEM file may hold certificate and key, whichever comes first, with remarks and CRLF line ends."""
    for number, parts in enumerate(((crt, key), (key, crt))):
        path = tmp_path / f"{number}.pem"
        data = b"# a remark\n" + b"\n".join(part(pairs[0]) for part in parts)
        path.write_bytes(data.replace(b"\n", b"\r\n"))
        loaded = read_credential(path, str(path))
        assert loaded.certificate == pairs[0].certificate
        assert read_private_key(path).public_key() == pairs[0].private_key.public_key()


def test_a_credential_never_shows_its_key(pairs: list[Credential]) -> None:
    """A credential's text is who it is and who says so."""
    assert repr(pairs[0]) == "<Credential CN=client, issued by CN=example-ca>"


def test_a_credential_is_shown_on_one_line() -> None:
    """A name that strangers chose neither ends the line nor reaches the terminal, even one that cannot be read."""
    key, now = new_private_key(), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A\r\n\x1b[2J\u202eB")])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(x509.Name([])).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now)
    certificate = builder.sign(key, hashes.SHA256())
    assert repr(Credential(certificate, key)) == r"<Credential O=A\r\n\x1b[2J\u202eB, issued by (empty)>"
    unreadable = certificate.public_bytes(DER).replace("\u202eB".encode(), b"\xff\xff\xff\xff")
    shown = repr(Credential(x509.load_der_x509_certificate(unreadable), key))
    assert shown == "<Credential (unreadable), issued by (empty)>"
