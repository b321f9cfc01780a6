"""The commands of ``medassets``, one module a group; heavy packages are imported inside the commands."""
