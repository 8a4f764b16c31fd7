"""PostgreSQL: the pool, named queries, migrations."""
