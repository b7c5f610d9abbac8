local agents, epochs, launches, specs = unpack(KEYS)

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

-- Whether one epoch is less than another. Neither begins with a zero, but for zero.
local function below(one, other)
  if #one ~= #other then
    return #one < #other
  end
  return one < other
end

-- The epochs of the guild as this Redis gave them out: above 'since', up to 'last'.
-- Both are false when it has given out none.
local function given()
  local counters = redis.call('HMGET', epochs, 'since', 'last')
  return counters[1], counters[2]
end

-- What to answer a writer whose agent is not recorded. An epoch that was given out here
-- was released since. Any other is of a time whose data is lost.
local function missing(epoch)
  local since, last = given()
  if since and last and below(since, epoch) and not below(last, epoch) then
    return { 'fenced', '' }
  end
  return { 'forgotten', '' }
end

-- The entry of an agent and its four heads, for a writer under its current epoch. Any
-- other writer gets nil and what to answer it.
local function current(agent, epoch)
  local entry = redis.call('HGET', agents, agent)
  if not entry then
    return nil, missing(epoch)
  end
  local found, lease, live, call = parse(entry)
  if not found then
    return nil, corrupt(agent)
  end
  if found ~= epoch then
    return nil, { 'fenced', found }
  end
  return entry, found, lease, live, call
end

local function store(agent, entry, changes)
  redis.call('HSET', agents, agent, entry)
  redis.call('PUBLISH', changes, '+' .. entry)
end

