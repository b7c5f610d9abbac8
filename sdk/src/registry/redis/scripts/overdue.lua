-- The leases that are overdue.
-- Returns now; end, views gone by and entry of each; number and members of those views.
local now = now_ms()
local found, numbers = {}, {}
local function note(ends, named, answered, entry)
  found[#found + 1] = { ends, named, answered, entry }
  numbers[named], numbers[answered] = true, true
end
for _, host in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', text(now))) do
  local _, ends = lease_and_end(host)
  if ends then
    local named, answered = string.match(redis.call('HGET', held, host) or '0 0', '^(%d+) (%d+)')
    note(text(ends), named, answered, redis.call('HGET', records, host))
  end
end
for _, entry in ipairs(redis.call('HVALS', displaced)) do
  note(string.match(entry, '^(%d+) (%d+) (%d+) (.*)$'))
end
local listed = {}
for number in pairs(numbers) do
  local view = redis.call('HGET', views, number)
  if view then
    listed[#listed + 1] = { number, view }
  end
end
return { now, found, listed }
