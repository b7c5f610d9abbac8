-- Buries a lease on its holder's word.
-- ARGV: host, lease, channel of changes.
local host, lease, changes = unpack(ARGV)
if lease_and_end(host) == lease or redis.call('HEXISTS', displaced, lease) == 1 then
  entomb(host, lease, now_ms(), changes)
end
