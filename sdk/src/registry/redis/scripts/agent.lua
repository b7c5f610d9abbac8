local agents = KEYS[1]

-- An agent's entry is 'EPOCH LEASE LIVE CALL JSON'. Epochs are compared as text: Lua
-- would round a long one.
local function parse(entry)
  return string.match(entry, '^(%d+) (%S*) ([01]) (%S+) ')
end

local function corrupt(agent)
  return redis.error_reply('CORRUPT the entry of ' .. agent .. ' is not EPOCH LEASE LIVE CALL JSON')
end

local function head(epoch, lease, live, call)
  return epoch .. ' ' .. lease .. ' ' .. live .. ' ' .. call .. ' '
end

