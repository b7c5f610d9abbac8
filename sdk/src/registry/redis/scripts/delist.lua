-- Forgets a guild that has no agents, unless it was enlisted in the last so many ms.
-- KEYS: the guilds. ARGV: the guild, ms.
local at = redis.call('ZSCORE', KEYS[1], ARGV[1])
if at and tonumber(at) + ARGV[2] < now_ms() then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
