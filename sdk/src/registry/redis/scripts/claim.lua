-- Claims an agent's identity under a new, higher epoch.
-- KEYS: agents, epochs of the guild. ARGV: agent, lease, whether it is live, the call,
-- JSON, channel of changes, the epoch to replace or '', the 'EPOCH LEASE' whose lease
-- was found to be over or '', and an epoch that the new one must be above.
-- Returns 'claimed' and the epoch, 'held' and the entry, or when there is nothing to
-- replace 'fenced' or 'forgotten'.
local agent, lease, live, call, json, changes, replaces, over, floor = unpack(ARGV)
local entry = redis.call('HGET', agents, agent)
if entry then
  local epoch, holder, taken, made_by = parse(entry)
  if not epoch then
    return corrupt(agent)
  end
  if made_by == call then
    -- This very call was carried out, and its answer was lost.
    return { 'claimed', epoch }
  end
  local granted
  if replaces ~= '' then
    granted = epoch == replaces
  else
    granted = taken == '0' or over == epoch .. ' ' .. holder
  end
  if not granted then
    return { 'held', entry }
  end
elseif replaces ~= '' then
  return missing(replaces)
end
local _, last = given()
if not last or below(last, floor) then
  -- The guild is new here, or Redis has lost what it gave out: which epochs those were
  -- cannot be known, but none was as high as the time in microseconds. From there on
  -- every epoch is known to be of before the loss or of after it.
  local start = text(now_us())
  if below(start, floor) then
    start = floor
  end
  redis.call('HSET', epochs, 'since', start, 'last', start)
end
local epoch = text(redis.call('HINCRBY', epochs, 'last', 1))
store(agent, head(epoch, lease, live, call) .. json, changes)
return { 'claimed', epoch }
