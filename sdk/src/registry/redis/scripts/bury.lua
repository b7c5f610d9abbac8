-- Buries an overdue lease.
-- ARGV: host, lease, when it ended, the time before which its votes hold, channel of
-- changes, in which time every host that lives has come back, run id that the caller saw
-- last.
-- Returns 'buried', 'missed', 'late' or 'unsettled'.
local host, lease, ended, votes_until, changes, length, seen = unpack(ARGV)
local now = now_ms()
local _, since = incarnation(now, seen)
local ends
local other = redis.call('HGET', displaced, lease)
if other then
  ends = string.match(other, '^(%d+) ')
else
  local holder, at = lease_and_end(host)
  if holder == lease and at <= now then
    ends = text(at)
  end
end
if ends ~= ended then
  return 'missed'
end
if settles_in(now, since, length) > 0 then
  return 'unsettled'
end
if now >= tonumber(votes_until) then
  return 'late'
end
entomb(host, lease, now, changes)
return 'buried'
