-- Renews a lease, be it overdue, and when there is a report stores that.
-- ARGV: host, lease, length of the lease in ms, the view it goes by, run id that the host
-- saw last or '', channel of changes, JSON or '', after how many ms a buried lease is
-- forgotten.
-- Returns whether the lease is renewed; now; the run id, and in how many ms it is settled;
-- the number of the newest view, and its members as JSON when it is another.
local host, lease, length, view, seen, changes, json, forget_after = unpack(ARGV)
local now = now_ms()
local run, since = incarnation(now, seen)
local settled = settles_in(now, since, length)
local holder, ends = lease_and_end(host)
if holder ~= lease then
  return { 0, now, run, settled, '0', '' }
end
extend(host, now, length)
local newest = newest_view()
redis.call('HSET', held, host, view .. ' ' .. newest)
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
if newest ~= view then
  listed = redis.call('HGET', views, newest) or ''
end
return { 1, now, run, settled, newest, listed }
