-- Renews a lease and, when there is a report, stores that.
-- ARGV: host, lease, length of the lease in ms; with a report also JSON, channel of
-- changes, and after how many ms an ended lease is forgotten.
-- Returns whether the lease was in force.
local host, lease, length, json, changes, forget_after = unpack(ARGV)
local now = now_ms()
if in_force(host, now) ~= lease then
  return 0
end
extend(host, now, length)
if json then
  report(host, lease, now, json, changes)
  -- A few at a time: no renewal pays for many.
  local long_ended = redis.call('ZRANGEBYSCORE', leases, '-inf', text(now - forget_after), 'LIMIT', 0, 4)
  for _, other in ipairs(long_ended) do
    redis.call('ZREM', leases, other)
    redis.call('HDEL', records, other)
  end
end
return 1
