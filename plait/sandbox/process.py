"""A sandbox in a process of its own: for `make demo`, tests and chaos runs that kill it."""

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from plait.http.errors import ConfigurationError
from plait.sandbox.fault_rules import FaultRule
from plait.sandbox.placet_settings import PlacetSettings
from plait.sandbox.planasonix_settings import PlanasonixSettings
from plait.sandbox.planck_settings import PlanckSettings
from plait.sandbox.pletor_settings import PletorSettings
from plait.sandbox.settings import OfficePlaneSettings, SandboxSettings

_POLL: Final = 0.02


class SandboxProcess:
    """A running sandbox. `url` has no trailing slash; append a service's path, such as `/officeplane`."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    @property
    def pid(self) -> int:
        """Process id, for a killer."""
        return self._process.pid

    def stop(self, timeout: float = 10.0) -> None:
        """Ask it to end, and kill it when it does not within `timeout` seconds."""
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_sandbox(
    *,
    state: Path,
    seed: int = 0,
    port: int = 0,
    faults: Sequence[FaultRule] = (),
    officeplane: OfficePlaneSettings | None = None,
    planck: PlanckSettings | None = None,
    placet: PlacetSettings | None = None,
    pletor: PletorSettings | None = None,
    planasonix: PlanasonixSettings | None = None,
    timeout: float = 30.0,
) -> SandboxProcess:
    """Start a sandbox on loopback and return once it accepts requests.

    Blocking: from async code, call it in a thread. To continue after a kill, start again with the
    same `state` and `port`.

    Raises:
        ConfigurationError: it ended or stayed silent for `timeout` seconds; carries its last words.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as words:
        settings = SandboxSettings(
            state=state.absolute(),
            port=port,
            port_file=Path(folder) / "port",
            seed=seed,
            faults=tuple(faults),
            officeplane=officeplane or OfficePlaneSettings(),
            planck=planck or PlanckSettings(),
            placet=placet or PlacetSettings(),
            pletor=pletor or PletorSettings(),
            planasonix=planasonix or PlanasonixSettings(),
        )
        settings_file = Path(folder) / "settings.json"
        settings_file.write_text(settings.model_dump_json(), encoding="utf-8")
        process = subprocess.Popen(  # noqa: S603 - our own module with our own settings
            [sys.executable, "-m", "plait.sandbox.process", str(settings_file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
        )
        try:
            return SandboxProcess(process, _await_port(process, Path(folder) / "port", timeout))
        except BaseException as error:
            process.kill()
            process.wait()
            words.seek(0)
            said = words.read().decode("utf-8", "replace").strip()[-2000:]
            if isinstance(error, TimeoutError):
                raise ConfigurationError(f"the sandbox did not start: {said or error}") from error
            raise


def _await_port(process: subprocess.Popen[bytes], port_file: Path, timeout: float) -> int:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            return int(port_file.read_text(encoding="ascii"))
        if process.poll() is not None:
            raise TimeoutError(f"it ended with status {process.returncode}")
        time.sleep(_POLL)
    raise TimeoutError(f"it said nothing for {timeout:g} s")


def _main(settings_file: Path) -> None:
    from plait.sandbox.server import run  # noqa: PLC0415 - only the child needs the stand-ins

    run(SandboxSettings.model_validate_json(settings_file.read_text(encoding="utf-8")))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
