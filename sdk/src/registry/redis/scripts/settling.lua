-- Since when this incarnation is known to serve; '0' when no host has been there before,
-- so that nothing can have been lost. `seen` is the run id that the caller saw last.
local function incarnation(now, seen)
  local run = run_id()
  local known = redis.call('HGET', state, 'run')
  local veteran = seen ~= '' and seen ~= run
  if known ~= run or veteran then
    local since = (known or veteran) and text(now) or '0'
    redis.call('HSET', state, 'run', run, 'since', since)
  end
  return run, tonumber(redis.call('HGET', state, 'since'))
end

-- Milliseconds until, in a lease of this length, every host that lives has come back.
local function settles_in(now, since, length)
  if since == 0 then
    return 0
  end
  return math.max(0, since + length - now)
end
