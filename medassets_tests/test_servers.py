import psycopg
import pytest
import redis

pytestmark = pytest.mark.servers


def _ask(url, query):
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchone()[0]


def test_each_test_gets_an_empty_database_that_survives_a_crash(postgres_server, postgres):
    assert postgres != postgres_server.new_database()
    with psycopg.connect(postgres) as connection:
        connection.execute("CREATE TABLE kept (n integer)")
        connection.execute("INSERT INTO kept VALUES (7)")
    postgres_server.stop("immediate")
    try:
        with pytest.raises(psycopg.OperationalError):
            _ask(postgres, "SELECT 1")
    finally:
        postgres_server.start()
    assert _ask(postgres, "SELECT n FROM kept") == 7


@pytest.mark.parametrize("_", range(2))
def test_redis_is_empty_at_first(redis_url, _):
    with redis.Redis.from_url(redis_url) as client:
        assert client.set("a", "1", nx=True)


def test_redis_stops_and_starts_again(redis_server, redis_url):
    redis_server.stop()
    with redis.Redis.from_url(redis_url) as client:
        try:
            with pytest.raises(redis.ConnectionError):
                client.ping()
        finally:
            redis_server.start()
        assert client.ping()
