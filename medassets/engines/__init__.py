"""Engines that carry table-to-table transformations out: one machine, a Ray cluster, a site's Spark.

What belongs here: running. What does not: the transformations, which know no engine (``features``).
"""
