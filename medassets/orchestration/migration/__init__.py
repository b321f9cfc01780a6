"""Moving an installation between stores, without losing a row: files to S3, SQLite to PostgreSQL.

What belongs here: copying each part and comparing both sides. What does not: the stores themselves. Each part
is compared before and after by counts and a digest of its content; a target that holds anything else is
refused, and a part that is there already is left, so a broken-off migration is simply run again.
"""
