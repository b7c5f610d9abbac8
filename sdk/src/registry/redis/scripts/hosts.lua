-- All hosts whose lease is in force.
-- ARGV: a channel to mark the moment on, or nothing.
-- Returns now, the ms until the next lease ends, and host and entry of each.
local now = now_ms()
local found = {}
for _, host in ipairs(redis.call('ZRANGEBYSCORE', leases, '(' .. text(now), '+inf')) do
  found[#found + 1] = host
  found[#found + 1] = redis.call('HGET', records, host) or ''
end
if ARGV[1] then
  redis.call('PUBLISH', ARGV[1], '')
end
return { now, next_end_in(now), found }
