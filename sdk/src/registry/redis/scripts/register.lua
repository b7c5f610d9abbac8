-- Enters a host under a lease.
-- ARGV: host, lease, length of the lease in ms, JSON, channel of changes, endpoint, run
-- id that the host saw last or ''.
-- Returns 'registered', 'in use' or 'ended' (this very lease is buried); the ms that the
-- other's lease has left; the run id, and in how many ms it is settled.
local host, lease, length, json, changes, endpoint, seen = unpack(ARGV)
local now = now_ms()
local run, since = incarnation(now, seen)
local settled = settles_in(now, since, length)
if redis.call('ZSCORE', buried, lease) then
  return { 'ended', 0, run, settled }
end
local holder, ends = lease_and_end(host)
if holder and holder ~= lease then
  if ends > now then
    return { 'in use', ends - now, run, settled }
  end
  -- An earlier life of this host is overdue, and stays so.
  local entry = redis.call('HGET', records, host)
  local numbers = redis.call('HGET', held, host) or '0 0'
  redis.call('HSET', displaced, holder, text(ends) .. ' ' .. numbers .. ' ' .. entry)
  redis.call('HDEL', held, host)
  holder = nil
end
extend(host, now, length)
if not holder then
  redis.call('HSET', held, host, '0 0')
  redis.call('HSET', members, lease, host .. ' ' .. endpoint)
  review()
end
report(host, lease, now, json, changes)
return { 'registered', 0, run, settled }
