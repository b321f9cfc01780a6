"""From cohort tables to arrays: evidence matrices, phenotype profiles and the scores computed from them.

Nothing is trained here.
"""
