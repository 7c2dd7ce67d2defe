"""XQueue on Redis 7.0 or later, or Valkey: durable, for any number of hosts."""

from xqueue_redis.backend import RedisBackend

__all__ = ["RedisBackend"]
