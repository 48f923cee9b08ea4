"""A Docker of the tests' own, with a base image made of this machine's Debian and Python: no registry is needed.

All processes of one run of the tests share it. What it keeps is in one temporary folder, and nothing of it is left
afterwards.
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from time import monotonic, sleep

BASE = f"python:{sys.version_info[0]}.{sys.version_info[1]}-slim"
START_SECONDS = 30
STOP_SECONDS = 30
TOOLS = {"dockerd": "docker.io", "mmdebstrap": "mmdebstrap"}
"""What is needed, by the Debian package that has it; and Compose 2 and buildx, of Debian 13, as .ci/run installs."""
NOT_IN_AN_IMAGE = ("__pycache__", "site-packages", "test", "idlelib", "tkinter", "turtledemo", "config-*")
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
NETWORK = re.compile(r"(SSL_CERT_FILE|(PIP|UV)_(?!FIND_LINKS).*|(HTTPS?|NO)_PROXY)", re.IGNORECASE)
"""Variables that say how this machine reaches package indices. The base image has them, as builds in it have to."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def has_plugin(name: str) -> bool:
    """Whether Docker has a plugin, such as `compose`."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", name, "version"], capture_output=True).returncode == 0


def missing() -> list[str]:
    """What has to be installed before Docker can be started here."""
    found = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    found += [f"docker-{plugin}" for plugin in ("compose", "buildx") if not has_plugin(plugin)]
    return [*found, *(["root's rights"] if os.geteuid() else [])]


def shared(folder: Path) -> str:
    """The Docker that keeps all that it has in a folder; what DOCKER_HOST has to be. Whoever asks first starts it.

    Two of them on one machine would be in each other's way: they share the kernel's bridge and its rules.
    """
    address = f"unix://{folder / 'socket'}"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            _start(folder, address)
            import_base(address, folder)
            (folder / "ready").touch()
    return address


def stop(folder: Path) -> None:
    """End the Docker of a folder, if one was started there, with its containers, and remove the folder."""
    pid_file, address = folder / "pid", f"unix://{folder / 'socket'}"
    if pid_file.exists():
        pid = int(pid_file.read_text())
        listed = subprocess.run(["docker", "--host", address, "ps", "-aq"], capture_output=True, text=True).stdout
        if listed:
            subprocess.run(["docker", "--host", address, "rm", "-f", "-v", *listed.split()], capture_output=True)
        os.kill(pid, signal.SIGTERM)
        deadline = monotonic() + STOP_SECONDS
        while pid_file.exists() and monotonic() < deadline:
            sleep(0.1)
        if pid_file.exists():
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, address: str) -> None:
    log = folder / "dockerd.log"
    command = [
        "dockerd",
        f"--data-root={folder / 'data'}",
        f"--exec-root={folder / 'exec'}",
        f"--pidfile={folder / 'pid'}",
        f"--host={address}",
        "--storage-driver=overlay2",
        "--bip=172.31.255.1/24",
        "--default-address-pool=base=172.31.0.0/17,size=24",
        "--default-ulimit=nofile=20000:20000",
    ]
    with log.open("wb") as file:
        # A group of its own: Ctrl-C is for the tests, which then end it after its containers.
        daemon = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
    deadline = monotonic() + START_SECONDS
    while subprocess.run(["docker", "--host", address, "info"], capture_output=True).returncode:
        if daemon.poll() is not None or monotonic() > deadline:
            daemon.kill()
            raise RuntimeError(f"dockerd does not start:\n{log.read_text(errors='replace')[-3000:]}")
        sleep(0.2)


def import_base(host: str, folder: Path) -> None:
    """Make the base image: the smallest Debian, and the Python that runs the tests."""
    root = folder / "base"
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    assert release is not None, "this machine is no Debian"
    is_debians = sys.base_prefix == "/usr"
    packages = ["passwd", "tzdata", *(["python3-pip", "python3-venv", "python-is-python3"] if is_debians else [])]
    options = [
        "--dpkgopt=force-unsafe-io",
        f"--include={','.join(packages)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
    ]
    subprocess.run(["mmdebstrap", "--quiet", "--variant=apt", *options, release[1], str(root)], check=True)
    if not is_debians:
        _copy_python(root / "usr/local")
        subprocess.run(["chroot", str(root), "ldconfig"], check=True)
        subprocess.run(["chroot", str(root), "python3", "-m", "ensurepip"], check=True, capture_output=True)
        (root / "usr/local/bin/python").symlink_to("python3")
        if shutil.which("strip"):
            subprocess.run(["strip", "--strip-unneeded", *root.glob("usr/local/lib/**/*.so*")], capture_output=True)
    (root / CERTIFICATES.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
    variables = {name: value for name, value in os.environ.items() if NETWORK.fullmatch(name)}
    changes = [f"--change=ENV {name}={value}" for name, value in variables.items()]
    archive = folder / "base.tar"
    subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
    subprocess.run(["docker", "--host", host, "import", *changes, str(archive), BASE], check=True, capture_output=True)
    shutil.rmtree(root)
    archive.unlink()


def _copy_python(prefix: Path) -> None:
    """The interpreter and its standard library, and the system's libraries that these load."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    source = Path(sys.base_prefix)
    library = prefix / "lib" / name
    shutil.copytree(source / "lib" / name, library, ignore=shutil.ignore_patterns(*NOT_IN_AN_IMAGE), symlinks=True)
    (library / "site-packages").mkdir()
    shutil.copy2(source / "bin" / name, prefix / "bin" / name)
    (prefix / "bin/python3").symlink_to(name)
    for path in library.glob("lib-dynload/_tkinter*"):
        path.unlink()
    loaded = [prefix / "bin" / name, *library.glob("lib-dynload/*.so")]
    shared = source / "lib" / str(sysconfig.get_config_var("INSTSONAME"))
    if shared.exists():
        shutil.copy2(shared, prefix / "lib" / shared.name)
    for line in subprocess.run(["ldd", *loaded], capture_output=True, text=True).stdout.splitlines():
        found = re.search(r"=> (/\S+)", line)
        if found and not (prefix.parents[1] / found[1].lstrip("/")).exists():
            shutil.copy2(found[1], prefix / "lib" / Path(found[1]).name)
