local leases, records, members, displaced, held, views, buried, state = unpack(KEYS)

-- A host's entry is 'LEASE REPORTED JSON'.
local function lease_of(entry)
  return string.match(entry, '^(%S*) ')
end

-- When the lease of a host ends or ended; nil when there is none.
local function end_of(host)
  return tonumber(redis.call('ZSCORE', leases, host))
end

-- The lease of a host that is not buried, and when it ends or ended.
local function lease_and_end(host)
  local entry = redis.call('HGET', records, host)
  local ends = end_of(host)
  if ends and entry then
    return lease_of(entry) or '', ends
  end
end

-- The lease in force for a host, and when it ends; nil when none is.
local function in_force(host, now)
  local lease, ends = lease_and_end(host)
  if lease and ends > now then
    return lease, ends
  end
end

-- Lets a lease end so many milliseconds from now. Now was rounded down, and a
-- lease must never end early for others: its host counts on its full length.
local function extend(host, now, length)
  redis.call('ZADD', leases, text(now + 1 + length), host)
end

-- Stores what a host says of itself, and tells the watchers.
local function report(host, lease, now, json, changes)
  local entry = lease .. ' ' .. text(now) .. ' ' .. json
  redis.call('HSET', records, host, entry)
  redis.call('PUBLISH', changes, '+' .. entry)
end

-- Milliseconds until the next lease ends unless it is renewed; -1 when none is in force.
local function next_end_in(now)
  local next = redis.call('ZRANGEBYSCORE', leases, '(' .. text(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if next[2] then
    return next[2] - now
  end
  return -1
end
