"""Backup of an installation, and its restoration into an empty place.

What belongs here: collecting a consistent state, keeping it verifiably, putting it back. What does not: what
can be made again (caches, bentos, downloads) and moving between stores (``migration``).

The order makes it consistent without stopping the services: who refers is copied before what it refers to
(predictions, then bundles, then models and runs, the lake last), so nothing copied points to what came later.
Databases are copied by their own means in one state, Delta tables up to a pinned version.
"""
