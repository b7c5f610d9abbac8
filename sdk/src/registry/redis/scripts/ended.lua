-- Which leases ended since a watcher last asked.
-- ARGV: when it last asked, a channel to mark the moment on.
-- Returns now, the ms until the next lease ends, how many are in force, and host and
-- lease of each that ended.
local since, mark = tonumber(ARGV[1]), ARGV[2]
local now = now_ms()
if since > now then
  -- The clock was set back; leases may have ended since at times before `since`.
  since = 0
end
local ended = {}
for _, host in ipairs(redis.call('ZRANGEBYSCORE', leases, '(' .. text(since), text(now))) do
  ended[#ended + 1] = host
  ended[#ended + 1] = lease_of(redis.call('HGET', records, host) or '') or ''
end
redis.call('PUBLISH', mark, '')
return { now, next_end_in(now), redis.call('ZCOUNT', leases, '(' .. text(now), '+inf'), ended }
