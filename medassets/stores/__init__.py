"""Where things are kept: folders or S3 for files and tables, SQLite, PostgreSQL or MongoDB for documents.

What belongs here: reaching a store. What does not: what is kept there. It lies low, so that readers, services
and the graph use the same.
"""
