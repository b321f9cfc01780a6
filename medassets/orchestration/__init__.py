"""Assets, checks, IO managers, jobs and sensors: the only package that imports dagster."""
