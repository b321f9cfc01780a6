"""Changing the bundle under a running service: load beside the old one, verify, swap, no request dropped.

What belongs here: following the ``latest`` pointer and the challenge beside it. What does not: bundles on
disk (``bundle``), who is assigned to which (``challenge``), and answering.

A request keeps the desk that it began with; the next one gets the new desk. A bundle that nobody trusted has
signed, that is not what its manifest says, or that this version cannot read, is refused and the old one goes
on answering. While both are
loaded, the process holds both in memory.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from medassets.serving.answering import NO_BENTO, Desk, collector_paused, open_sealer, store_place
from medassets.serving.bundle import BundleError, latest_bundle
from medassets.serving.cache import AnswerCache, open_cache
from medassets.serving.challenge import Challenge, Contest, read_challenge
from medassets.serving.measures import Measures
from medassets.serving.predictor import Diagnoser
from medassets.serving.sealing import Sealer
from medassets.serving.signing import pinned_keys
from medassets.serving.store import PredictionStore, StoreError
from medassets.settings import Settings

POLL_SECONDS = 2.0
logger = logging.getLogger("medassets")


class DeskKeeper:
    """Where the HTTP interface finds the present desk.

    Args:
        settings: of the installation.
        bento: tag of the bento that serves.
        load: reads and verifies a bundle.
        measures: where look-ups in the cache and shadow answers are counted.

    Attributes:
        desk: the present one; ``None`` while there is none.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        bento: str = NO_BENTO,
        load: Callable[[Path], Diagnoser] = Diagnoser.load,
        measures: Measures | None = None,
    ) -> None:
        self.desk: Desk | None = None
        self.bento = bento
        self._settings, self._load, self._measures = settings, load, measures or Measures()
        self._closed_because = "the service is starting"
        self._store: PredictionStore | None = None
        self._sealer: Sealer | None = None
        self._cache: AnswerCache | None = None
        self._said = ""
        self._pointer, self._challenge = self._pointed(), self._challenged()
        self._stopped = threading.Event()

    def __call__(self) -> Desk:
        """The present desk.

        Raises:
            BundleError: there is none; the message says why.
        """
        if self.desk is None:
            raise BundleError(self._closed_because)
        return self.desk

    def open(self, bundle_dir: Path | None = None) -> bool:
        """Load a bundle and answer from it from now on; on failure the present one stays.

        Args:
            bundle_dir: the bundle; ``None`` for the latest.

        Returns:
            Whether it was loaded.
        """
        try:
            directory = bundle_dir or latest_bundle(self._settings.bundles_dir)
            with collector_paused():
                self._change(self._read(directory))
        except (BundleError, StoreError) as error:
            self._closed_because = str(error)
            logger.error("%s: %s", "not ready" if self.desk is None else "bundle not changed", error)
            return False
        _settle()
        return True

    def follow(self) -> None:
        """Load what ``latest`` names whenever it changes, in a thread of its own."""
        threading.Thread(target=self._watch, name="bundle-follower", daemon=True).start()

    def stop(self) -> None:
        """Follow no more."""
        self._stopped.set()

    def check(self) -> bool:
        """Load the latest bundle, or another challenger, if either has changed since the last look.

        Returns:
            Whether another bundle answers now.
        """
        pointed, challenge = self._pointed(), self._challenged()
        moved, changed = pointed != self._pointer, challenge != self._challenge
        self._pointer, self._challenge = pointed, challenge
        served = None if self.desk is None else self.desk.diagnoser.bundle.version
        if moved and pointed not in (None, served) and self.open():
            logger.warning("bundle %s answers from now on", pointed)
            return True
        if changed and self.desk is not None:
            with collector_paused():
                self._change(self.desk.diagnoser)
            _settle()
        return False

    def _read(self, directory: Path) -> Diagnoser:
        pinned_keys(self._settings).check(directory)
        diagnoser = self._load(directory)
        diagnoser.rehearse()
        return diagnoser

    def _change(self, diagnoser: Diagnoser) -> None:
        """Answer from this bundle, and from the present challenger, from the next request on."""
        if self._store is None:
            self._sealer = open_sealer(self._settings)
            self._store = PredictionStore(store_place(self._settings), self._sealer)
            self._cache = open_cache(self._settings, self._sealer, self._measures.cached)
        old = self.desk
        self.desk = Desk(
            diagnoser, self._store, bento=self.bento, bundles_dir=self._settings.bundles_dir,
            sealer=self._sealer, cache=self._cache, contest=self._contest(diagnoser, old),
        )  # fmt: skip
        if old is not None and old.contest is not None and old.contest is not self.desk.contest:
            old.contest.close()

    def _contest(self, champion: Diagnoser, old: Desk | None) -> Contest | None:
        """The challenger beside this champion; the log says why one that cannot be loaded is left out."""
        challenge = self._challenge
        if challenge is None or challenge.bundle == champion.bundle.version:
            return None
        try:
            if (
                old is not None
                and old.contest is not None
                and old.contest.challenge.bundle == challenge.bundle
            ):
                diagnoser = old.contest.diagnoser
            else:
                diagnoser = self._read(self._settings.bundles_dir / challenge.bundle)
        except BundleError as error:
            logger.error("no challenger: %s", error)
            return None
        logger.warning("bundle %s challenges %s", challenge.bundle, champion.bundle.version)
        return Contest(challenge, diagnoser, champion.bundle.version, self._sealer, self._measures.shadowed)

    def _challenged(self) -> Challenge | None:
        try:
            return read_challenge(self._settings)
        except BundleError as error:
            if str(error) != self._said:  # looked at every few seconds, said once
                self._said = str(error)
                logger.error("no challenger: %s", error)
            return None

    def _pointed(self) -> str | None:
        try:
            return latest_bundle(self._settings.bundles_dir).name
        except BundleError:
            return None

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            self.check()


def _settle() -> None:
    """Set a loaded bundle's objects apart from collections, and let the old one's go.

    They live as long as the bundle serves; a full collection would walk them all, for a long moment in the
    middle of a request.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    _give_back_memory()


def _give_back_memory() -> None:
    """Return freed pages to the system; the C library would keep a third of a bundle at each change."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
        if trim is not None:
            trim(0)
