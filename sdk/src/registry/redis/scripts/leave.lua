-- Ends a lease that is in force.
-- ARGV: host, lease, channel of changes.
local host, lease, changes = unpack(ARGV)
if in_force(host, now_ms()) == lease then
  redis.call('ZREM', leases, host)
  redis.call('HDEL', records, host)
  redis.call('PUBLISH', changes, '-' .. host)
end
