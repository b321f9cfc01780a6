"""Changing the bundle under a running service: load beside the old one, verify, swap, no request dropped.

What belongs here: following the ``latest`` pointer. What does not: bundles on disk (``bundle``) and
answering.

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
from medassets.serving.predictor import Diagnoser
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

    Attributes:
        desk: the present one; ``None`` while there is none.
    """

    def __init__(
        self, settings: Settings, *, bento: str = NO_BENTO, load: Callable[[Path], Diagnoser] = Diagnoser.load
    ) -> None:
        self.desk: Desk | None = None
        self.bento = bento
        self._settings, self._load = settings, load
        self._closed_because = "the service is starting"
        self._store: PredictionStore | None = None
        self._pointer = self._pointed()
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
            pinned_keys(self._settings).check(directory)
            with collector_paused():
                diagnoser = self._load(directory)
                self.desk = self._made(diagnoser)
        except (BundleError, StoreError) as error:
            self._closed_because = str(error)
            logger.error("%s: %s", "not ready" if self.desk is None else "bundle not changed", error)
            return False
        # The bundle's objects live as long as it serves. A full collection walks them all, for a long moment
        # in the middle of a request: they are set apart, and those of the old bundle are let go.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        _give_back_memory()
        return True

    def follow(self) -> None:
        """Load what ``latest`` names whenever it changes, in a thread of its own."""
        threading.Thread(target=self._watch, name="bundle-follower", daemon=True).start()

    def stop(self) -> None:
        """Follow no more."""
        self._stopped.set()

    def check(self) -> bool:
        """Load the latest bundle if the pointer has changed since the last look.

        Returns:
            Whether another bundle answers now.
        """
        pointed = self._pointed()
        if pointed == self._pointer:
            return False
        self._pointer = pointed
        if pointed is None or (self.desk is not None and self.desk.diagnoser.bundle.version == pointed):
            return False
        changed = self.open()
        if changed:
            logger.warning("bundle %s answers from now on", pointed)
        return changed

    def _made(self, diagnoser: Diagnoser) -> Desk:
        sealer = open_sealer(self._settings)
        if self._store is None:
            self._store = PredictionStore(store_place(self._settings), sealer)
        return Desk(
            diagnoser, self._store, bento=self.bento, bundles_dir=self._settings.bundles_dir, sealer=sealer
        )

    def _pointed(self) -> str | None:
        try:
            return latest_bundle(self._settings.bundles_dir).name
        except BundleError:
            return None

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            self.check()


def _give_back_memory() -> None:
    """Return freed pages to the system; the C library would keep a third of a bundle at each change."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
        if trim is not None:
            trim(0)
