-- Renews a lease, be it overdue, and when there is a report stores that.
-- ARGV: host, lease, length of the lease in ms, the view it goes by, run id that the host
-- saw last or '', channel of changes, JSON or '', after how many ms a buried lease is
-- forgotten.
-- Returns 'renewed', 'ended' (it is buried), 'forgotten' or 'stale' (it goes by no such
-- view); now; the run id, and in how many ms it is settled; the number of the view to go
-- by from now on, and its members as JSON when it is another.
local host, lease, length, view, seen, changes, json, forget_after = unpack(ARGV)
local now = now_ms()
local run, since = incarnation(now, seen)
local settled = settles_in(now, since, length)
local holder, ends = lease_and_end(host)
if holder ~= lease then
  local why = redis.call('ZSCORE', buried, lease) and 'ended' or 'forgotten'
  return { why, now, run, settled, '0', '' }
end
-- A view that was answered stays until its holder says that it has it. So a renewal that
-- comes late, when the holder goes by a newer view, cannot pass for the holder's word.
local named, answered = string.match(redis.call('HGET', held, host) or '0 0', '^(%d+) (%d+)')
if view == answered then
  named, answered = view, newest_view()
elseif view ~= named then
  return { 'stale', now, run, settled, '0', '' }
end
redis.call('HSET', held, host, named .. ' ' .. answered)
extend(host, now, length)
if json ~= '' then
  report(host, lease, now, json, changes)
  -- A few at a time: no renewal pays for many.
  local long_buried = redis.call('ZRANGEBYSCORE', buried, '-inf', text(now - forget_after), 'LIMIT', 0, 4)
  for _, other in ipairs(long_buried) do
    redis.call('ZREM', buried, other)
  end
elseif ends <= now then
  -- Watchers have taken it for gone.
  redis.call('PUBLISH', changes, '+' .. redis.call('HGET', records, host))
end
local listed = ''
if answered ~= view then
  listed = redis.call('HGET', views, answered) or ''
end
return { 'renewed', now, run, settled, answered, listed }
