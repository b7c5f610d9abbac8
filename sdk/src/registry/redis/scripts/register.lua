-- Enters a host under a lease.
-- ARGV: host, lease, length of the lease in ms, JSON, channel of changes.
-- Returns 'registered', 'in use' with the ms that the other's lease has left, or
-- 'ended' when this very lease is over.
local host, lease, length, json, changes = unpack(ARGV)
local now = now_ms()
local holder, ends = in_force(host, now)
if holder and holder ~= lease then
  return { 'in use', ends - now }
end
if not holder then
  local entry = redis.call('HGET', records, host)
  if entry and end_of(host) and lease_of(entry) == lease then
    return { 'ended', 0 }
  end
end
extend(host, now, length)
report(host, lease, now, json, changes)
return { 'registered', 0 }
