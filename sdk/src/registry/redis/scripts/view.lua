-- The views: numbered lists of the leases that are not buried.

-- The number of the newest; '0' when there is none.
local function newest_view()
  return redis.call('HGET', state, 'view') or '0'
end

-- The leases that are not buried have changed: lists them under a new number, and
-- forgets the lists that no holder goes by.
local function review()
  local number = text(redis.call('HINCRBY', state, 'view', 1))
  local used = { [number] = true }
  for _, numbers in ipairs(redis.call('HVALS', held)) do
    for one in string.gmatch(numbers, '%d+') do
      used[one] = true
    end
  end
  for _, entry in ipairs(redis.call('HVALS', displaced)) do
    local named, answered = string.match(entry, '^%d+ (%d+) (%d+) ')
    used[named or ''], used[answered or ''] = true, true
  end
  for _, old in ipairs(redis.call('HKEYS', views)) do
    if not used[old] then
      redis.call('HDEL', views, old)
    end
  end
  redis.call('HSET', views, number, cjson.encode(redis.call('HGETALL', members)))
end

-- Ends a lease for good.
local function entomb(host, lease, now, changes)
  if redis.call('HDEL', displaced, lease) == 0 then
    redis.call('ZREM', leases, host)
    redis.call('HDEL', records, host)
    redis.call('HDEL', held, host)
    redis.call('PUBLISH', changes, '-' .. host)
  end
  redis.call('HDEL', members, lease)
  redis.call('ZADD', buried, text(now), lease)
  review()
end
