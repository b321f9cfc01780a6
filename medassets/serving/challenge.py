"""A second bundle beside the served one: it answers a share of the requests, or in the shadow, for nobody.

What belongs here: which bundle challenges, who is assigned to it, and its work in the shadow. What does not:
loading bundles and following changes (``swap``), keeping answers (``answering``), and the verdict on who is
better (``monitoring``).

The assignment is a keyed hash of the request, or of the caller, against the share: the same one is assigned
alike in each process and at each repetition, and nobody outside can tell how. In the shadow the challenger
answers after the champion's answer has left, in one thread, from a bounded queue: when it cannot keep up,
requests are left out and counted, and none waits.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from medassets.serving.bundle import BundleError
from medassets.serving.files import replace_file
from medassets.serving.predictor import Diagnoser
from medassets.serving.requests import DiagnosisRequest
from medassets.serving.sealing import Sealer, keyed_digest
from medassets.settings import Settings

Arm = Literal["champion", "challenger", "shadow"]
ShadowOutcome = Literal["kept", "refused", "left out", "failed"]
FILE = "challenger"
#: Requests that wait for the challenger in the shadow.
MOST_WAITING = 64
logger = logging.getLogger("medassets")


@dataclass(frozen=True)
class Challenge:
    """Which bundle challenges, and for what.

    Attributes:
        bundle: version of the challenger.
        share: share of the requests that it answers; 0 for the shadow.
        by: what is assigned.
    """

    bundle: str
    share: float = 0.0
    by: Literal["request", "caller"] = "request"

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"a share is from 0 to 1, not {self.share}")

    @property
    def in_shadow(self) -> bool:
        """Whether nobody is given its answers."""
        return self.share == 0


_READER = TypeAdapter(Challenge)


def read_challenge(settings: Settings) -> Challenge | None:
    """The challenge that the settings name, else the one that a command has set.

    Raises:
        BundleError: the file of the command is malformed.
    """
    own = settings.challenger
    if own.bundle:
        return Challenge(own.bundle, own.share, own.by)
    path = settings.bundles_dir / FILE
    try:
        return _READER.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, ValueError):
        raise BundleError(f"{path} is no challenge: `medassets bundle challenge` writes one") from None


def set_challenge(bundles_dir: Path, challenge: Challenge | None) -> None:
    """Let this bundle challenge from now on, in running services as well; ``None`` ends it."""
    path = bundles_dir / FILE
    if challenge is None:
        path.unlink(missing_ok=True)
        return
    replace_file(path, (json.dumps(asdict(challenge)) + "\n").encode())


class Contest:
    """A challenger that is loaded.

    Args:
        challenge: for what.
        diagnoser: over the challenger's bundle.
        champion: version of the bundle that it challenges.
        sealer: keys the assignment.
        count: told what became of each request in the shadow.
    """

    def __init__(
        self,
        challenge: Challenge,
        diagnoser: Diagnoser,
        champion: str,
        sealer: Sealer | None = None,
        count: Callable[[ShadowOutcome], None] = lambda _: None,
    ) -> None:
        self.challenge, self.diagnoser = challenge, diagnoser
        self._name, self._sealer = f"{champion} {challenge.bundle}", sealer
        self.count = count
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="shadow")

    def arm(self, request: DiagnosisRequest, actor: str) -> Arm:
        """Who answers this request."""
        if self.challenge.in_shadow:
            return "champion"
        unit = actor if self.challenge.by == "caller" else request.model_dump_json(exclude={"patient_id"})
        digest = keyed_digest(self._sealer, "assignment", f"{self._name}\n{unit}".encode())
        return "challenger" if int.from_bytes(digest[:8]) < self.challenge.share * 2**64 else "champion"

    def in_shadow(self, task: Callable[[], ShadowOutcome]) -> None:
        """Do this later, off the request's path, or leave it out where too much waits."""
        if not self._waiting.acquire(blocking=False):
            self.count("left out")
            return

        def run() -> None:
            outcome: ShadowOutcome = "failed"
            try:
                outcome = task()
            finally:
                self._waiting.release()
                self.count(outcome)

        try:
            self._worker.submit(run).add_done_callback(_log_failure)
        except RuntimeError:
            # A request that began before the challenge ended: closed in between.
            self._waiting.release()
            self.count("left out")

    def close(self) -> None:
        """End the work in the shadow; what waits is still done."""
        self._worker.shutdown(wait=False)


def _log_failure(done: Future[None]) -> None:
    if error := done.exception():
        # Without the message, which may hold what was asked.
        logger.error("challenger: %s", type(error).__name__)
