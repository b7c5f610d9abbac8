-- All agents of a guild, for a watcher.
-- ARGV: a channel to mark the moment on.
-- Returns agent and entry of each.
redis.call('PUBLISH', ARGV[1], '')
return redis.call('HGETALL', agents)
