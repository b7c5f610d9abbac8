-- Notes that a guild has agents. KEYS: the guilds. ARGV: the guild.
redis.call('ZADD', KEYS[1], text(now_ms()), ARGV[1])
